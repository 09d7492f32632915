"""Files in: networks (ONNX), weights (safetensors, state dicts) and data (npz, npy, IDX, CIFAR, image folders).

Everything read here is taken as hostile until checked: no file is executed, every size is compared with what the file really
holds before memory is taken, and a mistake is reported by file and field.
"""
