# Part of _engine: settings of the process (kernel table, bf16, threads) and the parallel region.

cdef str _isa = ""  # none yet: chosen when first needed
cdef int _openmp_threads = fbp_openmp_threads()  # at first
MOST_THREADS = 1024  # far beyond use; OpenMP ends the process when it cannot start its threads
cdef int _num_threads = min(_openmp_threads, <int>MOST_THREADS)
# Floating-point operations that pay for one more thread at one barrier, measured on two cores.
cdef double _thread_grain = 0.75e6


cdef const fbp_isa *find_isa(str name) except NULL:
    cdef int i = 0
    while fbp_isa_at(i) != NULL:
        if fbp_isa_at(i).name.decode() == name and fbp_isa_supported(fbp_isa_at(i)):
            return fbp_isa_at(i)
        i += 1
    raise ValueError(
        f"ISA must be one of {', '.join(isas())} on this machine, got {name!r} "
        "(from use_isa or the environment variable FASTBP_ISA)"
    )


cdef const fbp_kernels *kernels_of(str isa, size_t itemsize) except NULL:
    """The kernels for float32 (itemsize 4) or float64 (8) of a table; "" is the chosen one."""
    cdef const fbp_isa *table = find_isa(isa or get_isa())
    return table.f32 if itemsize == sizeof(float) else table.f64


def isas():
    names = []
    cdef int i = 0
    while fbp_isa_at(i) != NULL:
        if fbp_isa_supported(fbp_isa_at(i)):
            names.append(fbp_isa_at(i).name.decode())
        i += 1
    return tuple(names)


def get_isa():
    if not _isa:
        use_isa(None)
    return _isa


def use_isa(name):
    global _isa
    chosen = name or os.environ.get("FASTBP_ISA") or isas()[0]
    find_isa(chosen)
    _isa = chosen


cdef const fbp_bf16 *find_bf16(str name) except NULL:
    """The products of bf16 of that name."""
    cdef int i = 0
    while fbp_bf16_at(i) != NULL:
        if fbp_bf16_at(i).name.decode() == name and fbp_bf16_supported(fbp_bf16_at(i)):
            return fbp_bf16_at(i)
        i += 1
    raise ValueError(f"bf16 must be one of {bf16_isas()} on this machine, got {name!r}")


def bf16_isas():
    names = []
    cdef int i = 0
    while fbp_bf16_at(i) != NULL:
        if fbp_bf16_supported(fbp_bf16_at(i)):
            names.append(fbp_bf16_at(i).name.decode())
        i += 1
    return tuple(names)


def build_info():
    return {"compiler": fbp_compiler().decode(), "openmp": fbp_openmp_version()}


cpdef int get_num_threads() noexcept:
    cdef int limit = fbp_openmp_threads()
    return min(_num_threads, limit) if limit < _openmp_threads else _num_threads


def set_num_threads(int n):
    global _num_threads
    _num_threads = n


cdef int _tried_threads = 1  # size of the last team: so many the system has let us have


cdef int affordable(int threads) except -1:
    """So many threads, or those that the system lets this process have, with a warning.

    OpenMP ends the process when it cannot start as many as it is asked for.
    """
    global _tried_threads
    cdef int possible = threads
    if threads > _tried_threads:
        possible = fbp_possible_threads(threads)
    if possible < threads:
        warnings.warn(
            f"this process can have {possible} of {threads} threads, which the system limits "
            "(ulimit -u, ulimit -v, or a container's number of processes); lower set_num_threads",
            RuntimeWarning,
        )
    if threads > 1:
        _tried_threads = possible
    return possible


def get_thread_grain():
    return _thread_grain


def set_thread_grain(double flops):
    global _thread_grain
    _thread_grain = flops


if fbp_survive_fork() != 0:
    raise MemoryError("could not register what makes forks safe")


cdef inline void as_member(Worker work, void *task, int tid, int team) noexcept nogil:
    cdef uint64_t mode = fbp_denormals_flush()
    work(task, tid, team)
    fbp_denormals_restore(mode)


cdef void on_team(Worker work, void *task, int threads) noexcept nogil:
    """Have a team work on a task; the only parallel region."""
    if threads == 1:
        as_member(work, task, 0, 1)
    else:
        with parallel(num_threads=threads):
            as_member(work, task, threadid(), fbp_team_size())
