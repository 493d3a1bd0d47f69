"""fv2v: talking heads from one portrait, on fused kernels (Wang, Mallya, Liu, CVPR 2021)."""
