"""Triton kernels, one file per op family; installed as `svconv._triton`."""
