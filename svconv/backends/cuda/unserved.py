"""Why an op has no kernel in CUDA C++: what was counted. Triton serves all of UNSERVED; ops that are MISSING have no kernel for GPUs and
run there in plain torch, or not at all."""

_TRANSFORMS = ("its time is that of cuFFT, which torch.fft calls; what is left is a pointwise pass that Triton makes in one read and one "
               "write of the spectra")
_ONCE = "Triton reads the filters once and everything else from caches: the bytes are the floor already"
_WINDOWS = ("every pixel of a window has a weight of its own, so that no sums are shared between pixels: the loads and exponentials per "
            "result are those of the Triton kernel")
_SPECTRA = ("needs the spectra of four planes of a patch at once, and shared memory holds two: they pass through memory, as in Triton")

UNSERVED = {
    **dict.fromkeys(("conv_fwd", "conv_adjoint", "conv_bwd_kernel", "kernel_quotient_fwd", "kernel_quotient_bwd", "image_quotient_fwd",
                     "image_quotient_bwd"), _TRANSFORMS),
    **dict.fromkeys(("pixel_filter_fwd", "pixel_filter_adjoint", "pixel_filter_bwd_filters"), _ONCE),
    "pixel_filter_gram_bwd_filters": "one read of the filters and one write of their gradient are the floor, and Triton moves those",
    **dict.fromkeys(("gaussian_blur_fwd", "gaussian_blur_adjoint", "gaussian_blur_bwd_sigma", "gaussian_slope_fwd",
                     "gaussian_slope_adjoint"), _WINDOWS),
    **dict.fromkeys(("eff_image_quotient_bwd", "eff_kernel_quotient_bwd"), _SPECTRA),
}

_STENCIL = ("missing: on a GPU too 41 values of an assembled stencil instead of 200 of the filters would be read in a step of "
            "solvers.map_filters at its default sizes (counted); it applies its filters there")
_FEATURES = ("missing: on a GPU the layers are torch's convolutions and tanh, and each layer's 32 maps of the image's size are written and "
             "read back between them")
MISSING = {**dict.fromkeys(("pixel_filter_stencil", "pixel_filter_stencil_apply"), _STENCIL),
           **dict.fromkeys(("tanh_features_fwd", "tanh_features_bwd"), _FEATURES)}
