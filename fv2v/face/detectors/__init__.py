"""What finds faces: one file a detector, all behind the protocols of base.py."""
