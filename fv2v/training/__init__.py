"""How networks learn: `fv2v train CONFIG`."""
