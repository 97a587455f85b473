//! Beside the instances of one host: drives ComfyUI, reads NVML, moves outputs.
