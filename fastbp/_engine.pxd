from fastbp._c cimport fbp_bf16, fbp_kernels

cdef const fbp_kernels *kernels_of(str isa, size_t itemsize) except NULL
cdef const fbp_bf16 *find_bf16(str name) except NULL
