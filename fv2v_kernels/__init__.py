"""Differentiable operators of face-vid2vid: first-order flows, mask blending and 3D feature warping."""
