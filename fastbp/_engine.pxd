from fastbp._c cimport fbp_kernels

cdef const fbp_kernels *kernels_of(str isa, size_t itemsize) except NULL
