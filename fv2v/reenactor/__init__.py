"""Encode a portrait once, animate it many times: the public class, and what it is made of."""

from fv2v.reenactor.reenactor import Reenactor as Reenactor
