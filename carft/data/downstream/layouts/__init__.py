"""Layouts of the downstream data sets, one module per layout. No torch, except for the pixels of CIFAR."""
