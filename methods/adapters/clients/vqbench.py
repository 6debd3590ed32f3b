"""Speaks vqbench's protocol of adapters, version 1 (docs/adapters.md), for adapters in Python 3.10 or later. It needs NumPy alone.

Import this file before your library, subclass `Adapter`, and end with `serve`:

    import vqbench
    import dataclasses, library

    @dataclasses.dataclass
    class Params:
        bits: int = 8  # written `bits: 8` in an experiment; a field `learning_rate` is written `learning-rate`

    class Mine(vqbench.Adapter):
        name, version, licence = "library", library.__version__, "MIT"
        capabilities = ["encode", "decode"]
        ...

    vqbench.serve(Mine, Params)
"""

import ctypes, dataclasses, difflib, json, os, sys, tempfile, time, traceback, types, typing, zipfile

import numpy as np

PROTOCOL = 1


def _replies():
    """Where replies go: the descriptor that vqbench names, or the real standard output, which libraries then cannot reach."""
    given = os.environ.pop("VQBENCH_REPLY_FD", None)
    descriptor = os.dup(1 if given is None else int(given))
    if given is None:
        os.dup2(2, 1)
    else:
        os.close(int(given))
    return os.fdopen(descriptor, "w", encoding="utf-8")


_REPLIES = _replies()
try:
    ctypes.CDLL(None).prctl(1, 9)  # Linux: end with the parent, even in the middle of a long training
except (AttributeError, OSError, TypeError):
    pass


class Wrong(Exception):
    """A parameter that cannot work: its name, and what is wrong and what would be right."""

    def __init__(self, param, message):
        super().__init__(message)
        self.param = param.replace("_", "-")


class Adapter:
    """A method. vqbench makes one for each `hello`, and calls only what `capabilities` names. Rows are float32, C order."""

    name, version, licence = "", "", ""  # of the library that computes
    capabilities = []  # of encode, decode, search (over codes), search_base (over vectors), save, restore
    metrics = ["l2"]  # what it searches by: l2, ip
    seedable = False  # whether equal seeds give equal codes
    device = "cpu"
    code_bytes = None  # of a code of vectors with `dim` components, if that is known before `fit`

    def __init__(self, params, threads, dim):
        """Names and types of `params` are right; raise `Wrong` for values that cannot work. `dim` is None if it is unknown yet."""
        self.params, self.threads = params, threads
        self.use_threads(threads)

    def use_threads(self, threads):
        """Computes with so many threads from now on. Single queries are timed on one."""

    def wait(self):
        """Returns when the device has done everything. Nothing to do on a CPU."""

    def fit(self, rows, seed, metric):
        """Trains on rows (n, dim), for the metric `l2` or `ip`. Forgets everything before."""
        raise NotImplementedError

    def encode(self, rows):
        """Codes of rows: uint8, (n, bytes)."""
        raise NotImplementedError

    def decode(self, codes):
        """Vectors of codes: float32, (n, dim)."""
        raise NotImplementedError

    def hold_codes(self, codes):
        """Makes codes ready to be searched."""
        raise NotImplementedError

    def hold_base(self, rows):
        """Stores vectors in the library's own way, ready to be searched."""
        raise NotImplementedError

    def search(self, queries, k):
        """The numbers of the k nearest rows of each query, nearest first, -1 where there are fewer: (queries, k)."""
        raise NotImplementedError

    def search_one(self, query, k):
        """The same for one query (dim,), on one thread."""
        return self.search(query[None], k)

    def save(self, path):
        """Writes everything that `restore` needs to one file; rows held for search only if `hold_base` stored them."""
        raise NotImplementedError

    def restore(self, path, metric):
        """Reads what `save` wrote."""
        raise NotImplementedError


def use_processors(count):
    """On Linux, lets all threads of this process use so many processors, or all with None: for libraries whose number of threads is fixed."""
    if hasattr(os, "sched_setaffinity"):
        for task in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(task), _PROCESSORS[:count])


_PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def are_unit(rows):
    """Whether all rows have unit length: then the greatest inner product is the least distance."""
    return bool(np.all(np.abs(np.einsum("ij,ij->i", rows, rows) - 1) < 1e-3))


def folder():
    """A temporary folder: `with folder() as path:`."""
    return tempfile.TemporaryDirectory(dir=os.environ.get("VQBENCH_SCRATCH"))


def pack(folder, path):
    """Writes the files of a folder to one file, not compressed, for libraries that save to folders."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(os.listdir(folder)):
            archive.write(os.path.join(folder, name), name)


def unpack(path):
    """The files of `pack`, in a temporary folder: `with unpack(file) as path:`."""
    place = folder()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(place.name)
    return place


def read_params(form, given):
    """An object of the dataclass `form`, from what the user wrote. Names, types and `Literal` choices are checked."""
    kinds = typing.get_type_hints(form)
    shown = [name.replace("_", "-") for name in kinds]
    for key, value in given.items():
        if key not in shown:
            near = difflib.get_close_matches(key, shown, 1, 0.5)
            help = f"did you mean `{near[0]}`?" if near else f"there is {', '.join(f'`{name}`' for name in shown) or 'none'}"
            raise Wrong(key, f"unknown parameter `{key}`; {help}")
        kind = kinds[key.replace("-", "_")]
        if not _fits(value, kind):
            words = getattr(kind, "__name__", str(kind)) if not typing.get_args(kind) else str(kind).replace("typing.", "")
            raise Wrong(key, f"`{key}` must be {words}, not {json.dumps(value)}")
    for field in dataclasses.fields(form):
        if field.default is field.default_factory is dataclasses.MISSING and field.name.replace("_", "-") not in given:
            raise Wrong(field.name, f"`{field.name.replace('_', '-')}` is missing")
    return form(**{key.replace("-", "_"): value for key, value in given.items()})


def _fits(value, kind):
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, parts[0]) for one in value)
    if kind in (int, float):  # a boolean is no number here
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return value is None if kind is type(None) else isinstance(value, kind)


def _place(name):
    """The path of a file of the scratch folder."""
    if os.path.basename(name) != name:
        raise ValueError(f"{name!r} is not the name of a file in the scratch folder")
    return os.path.join(os.environ.get("VQBENCH_SCRATCH", "."), name)


def _read(name, kind):
    return np.ascontiguousarray(np.load(_place(name), allow_pickle=False), dtype=kind)


def _write(name, values, kind, shape):
    values = np.ascontiguousarray(values, dtype=kind)
    if values.ndim != 2 or any(want not in (None, have) for want, have in zip(shape, values.shape)):
        raise ValueError(f"the library returned an array of shape {values.shape} instead of {shape}")
    with open(_place(name), "wb") as file:
        np.save(file, values)


def _timed(adapter, work, asked):
    """What the work returns, and the times of all repeats if they are asked for."""
    result, times = work(), []
    adapter.wait()
    for _ in range(asked["repeats"] if asked else 0):
        start, rounds = time.perf_counter(), 0
        while rounds == 0 or time.perf_counter() - start < asked["min_seconds"]:
            result = work()
            rounds += 1
        adapter.wait()
        times.append({"rounds": rounds, "seconds": time.perf_counter() - start})
    return result, {"timing": times} if asked else {}


def _singles(adapter, queries, k, asked):
    """Seconds of each of the first queries, one after the other, on one thread."""
    adapter.use_threads(1)
    try:
        adapter.search_one(queries[0], k)
        adapter.wait()
        times, start = [], time.perf_counter()
        for query in queries[: asked["queries"]]:
            if len(times) >= 20 and time.perf_counter() - start > asked["seconds"]:
                break
            before = time.perf_counter()
            adapter.search_one(query, k)
            adapter.wait()
            times.append(time.perf_counter() - before)
        return times
    finally:
        adapter.use_threads(adapter.threads)


def _answer(adapter, request):
    """Carries out a request other than `hello`."""
    verb, timing = request["verb"], request.get("timing")
    if adapter is None:
        raise ValueError("the first request must be `hello`")
    if verb == "fit":
        rows = _read(request["rows"], "<f4")
        start = time.perf_counter()
        adapter.fit(rows, request["seed"], request["metric"])
        adapter.wait()
        return {"seconds": time.perf_counter() - start}
    if verb == "encode":
        rows = _read(request["rows"], "<f4")
        codes, reply = _timed(adapter, lambda: adapter.encode(rows), timing)
        _write(request["out"], codes, "|u1", (len(rows), None))
        return reply
    if verb == "decode":
        codes = _read(request["codes"], "|u1")
        rows, reply = _timed(adapter, lambda: adapter.decode(codes), timing)
        _write(request["out"], rows, "<f4", (len(codes), None))
        return reply
    if verb == "search":
        if request.get("codes"):
            adapter.hold_codes(_read(request["codes"], "|u1"))
        if request.get("base"):
            adapter.hold_base(_read(request["base"], "<f4"))
        queries, k = _read(request["queries"], "<f4"), request["k"]
        found, reply = _timed(adapter, lambda: adapter.search(queries, k), timing)
        if request.get("singles") and len(queries):
            reply["singles"] = _singles(adapter, queries, k, request["singles"])
        _write(request["out"], found, "<i8", (len(queries), k))
        return reply
    if verb == "save":
        adapter.save(_place(request["out"]))
    elif verb == "restore":
        adapter.restore(_place(request["model"]), request["metric"])
    else:
        raise ValueError(f"there is no verb {verb!r}")
    return {}


def _hello(make, form, request):
    if request["protocol"] != PROTOCOL:
        raise ValueError(f"protocol {request['protocol']} is asked for; this adapter speaks {PROTOCOL}")
    adapter = make(read_params(form, request["params"]), request["threads"], request.get("dim"))
    keys = ("name", "version", "licence", "capabilities", "metrics", "seedable", "device", "code_bytes")
    return adapter, {"protocol": PROTOCOL, **{key: getattr(adapter, key) for key in keys}}


def serve(make, form):
    """Answers requests until `bye` or the end of standard input. `make(params, threads, dim)` makes the adapter."""
    adapter = None
    for line in sys.stdin.buffer:
        reply = {}
        try:
            request = json.loads(line)
            reply["id"] = request.get("id")
            if request["verb"] == "hello":
                adapter = None
                adapter, reply["ok"] = _hello(make, form, request)
            else:
                reply["ok"] = {} if request["verb"] == "bye" else _answer(adapter, request)
        except Exception as error:
            traceback.print_exc()
            words = " ".join(str(error).split()) or "no reason was given"
            reply["error"] = (words if isinstance(error, Wrong) else f"{type(error).__name__}: {words}")[:2000]
            if isinstance(error, Wrong):
                reply["param"] = error.param
        _REPLIES.write(json.dumps(reply) + "\n")
        _REPLIES.flush()
        if reply.get("ok") is not None and request["verb"] == "bye":
            return
