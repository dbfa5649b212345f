// Blur by a disk of each pixel's own radius: the operation, its two forms and their adjoints are those of docs/ops/disk.md. Two kernels
// make them, one whose pixels gather over their own disk and one whose pixels gather from the disks that reach them; no two threads write
// to one place, sums have a fixed order.
#pragma once

#include "cuda/disk/gather.cuh"
#include "cuda/disk/spread.cuh"
