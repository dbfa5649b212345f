"""Why an op has no kernel in CUDA C++: what was counted. Triton serves all of these."""

_TRANSFORMS = ("its time is that of cuFFT, which torch.fft calls; what is left is a pointwise pass that Triton makes in one read and one "
               "write of the spectra")
_ONCE = "Triton reads the filters once and everything else from caches: the bytes are the floor already"
_WINDOWS = ("every pixel of a window has a weight of its own, so that no sums are shared between pixels: the loads and exponentials per "
            "result are those of the Triton kernel")
_SPECTRA = ("needs the spectra of four planes of a patch at once, and shared memory holds two: they pass through memory, as in Triton")
_STENCIL = "Triton reads the stencil once and everything else from caches: the bytes are the floor already"
_ASSEMBLY = ("an assembly comes before at least twelve applications; for 5 filters of 5 x 5 the Triton kernel loads 2,250 values per "
             "pixel (2,625 with weights), 750 of them for the first time in a row of taps, where a kernel with its sums in shared memory "
             "would make 1,625 additions there")
_FEATURES = ("arithmetic, not bytes: with 32 filters of 9 x 9, one hidden layer and 8 outputs 3,872 multiplications per pixel beside 36 "
             "bytes, and the Triton kernel has the maps in registers")

UNSERVED = {
    **dict.fromkeys(("conv_fwd", "conv_adjoint", "conv_bwd_kernel", "kernel_quotient_fwd", "kernel_quotient_bwd", "image_quotient_fwd",
                     "image_quotient_bwd"), _TRANSFORMS),
    **dict.fromkeys(("pixel_filter_fwd", "pixel_filter_adjoint", "pixel_filter_bwd_filters"), _ONCE),
    "pixel_filter_gram_bwd_filters": "one read of the filters and one write of their gradient are the floor, and Triton moves those",
    **dict.fromkeys(("gaussian_blur_fwd", "gaussian_blur_adjoint", "gaussian_blur_bwd_sigma", "gaussian_slope_fwd",
                     "gaussian_slope_adjoint"), _WINDOWS),
    **dict.fromkeys(("eff_image_quotient_bwd", "eff_kernel_quotient_bwd"), _SPECTRA),
    "pixel_filter_stencil": _ASSEMBLY, "pixel_filter_stencil_apply": _STENCIL,
    **dict.fromkeys(("tanh_features_fwd", "tanh_features_bwd"), _FEATURES),
}
