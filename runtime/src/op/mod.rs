//! Differentiable operations with a fused forward and backward pass of their own.
//!
//! candle's fast CPU kernels for layer norm and softmax have no backward pass, and compositions of its elementwise operations are
//! several times slower than the matrix products between them. Each file here is one operation: a plain reference, the fused
//! version, and a test by finite differences. All take and give contiguous FP32.
