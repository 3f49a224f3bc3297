# Part of _engine: whether a team of threads is of use where other processes have the cores.
#
# A team is as fast as the thread that runs least: whichever has lost its core holds up the others.
# If the first thread of a team waits much, training goes on alone for as long as the team was
# looked at, and then with whichever was faster. No result depends on it, and tests can turn it off
# (set_thread_grain(0)).

cdef enum:
    OF_TEAM, OF_ONE

cdef double TRIAL = 0.005  # seconds that a team, or one thread, is looked at
# Of its time that the first thread waits at barriers. In what is left it does its share, so that
# two threads do the work of 2 (1 - 0.4) = 1.2: a thread alone could hardly be faster.
cdef double MUCH = 0.4
# Seconds between two trials: at first few, for threads of other libraries spin for a while.
cdef double SETTLED_FIRST = 0.01, SETTLED_MOST = 2.0

cdef struct Trial:
    int64_t n_parameters, batch  # what is trained: other work begins another trial
    int of
    double seconds, rows, waited
    double team_rate  # rows a second of the team before

cdef Trial _trial
cdef double _alone_until = 0.0, _settled_until = 0.0, _settled_for = SETTLED_FIRST


cpdef int useful_team(int threads, double now) noexcept:
    cdef bint alone = now < _alone_until or _trial.of == OF_ONE
    return 1 if alone and _thread_grain > 0 else threads


cdef void begin_trial(int of, int64_t n_parameters, int64_t batch) noexcept:
    _trial.of, _trial.n_parameters, _trial.batch = of, n_parameters, batch
    _trial.seconds = _trial.rows = _trial.waited = 0.0


cpdef void judge_team(int64_t n_parameters, int64_t batch, double rows, double seconds,
                      double waited, double now) noexcept:
    global _alone_until, _settled_until, _settled_for
    if now < _alone_until or now < _settled_until:
        return
    if _trial.n_parameters != n_parameters or _trial.batch != batch:
        begin_trial(OF_TEAM, n_parameters, batch)
        return
    _trial.seconds += seconds
    _trial.rows += rows
    _trial.waited += waited
    if _trial.seconds < TRIAL:
        return
    if _trial.of == OF_TEAM:
        if _trial.waited < MUCH * _trial.seconds:
            _settled_for = SETTLED_FIRST
            begin_trial(OF_TEAM, n_parameters, batch)
            return
        _trial.team_rate = _trial.rows / _trial.seconds
        begin_trial(OF_ONE, n_parameters, batch)
        return
    _settled_until = now + _settled_for
    if _trial.rows > _trial.team_rate * _trial.seconds:
        _alone_until = _settled_until
    _settled_for = min(2.0 * _settled_for, SETTLED_MOST)
    begin_trial(OF_TEAM, n_parameters, batch)
