"""FAISS's side of `cargo xtask bench-peers`: takes requests on standard input and answers on standard output, a line of JSON each.

    {"op": "hello", "threads": 2}                       -> {"faiss": "1.15.1", "numpy": ..., "options": ...}
    {"op": "load", "train": F, "base": F, "queries": F} -> {}             three .npy files of float32
    {"op": "prepare", "codec": {...}, "stage": "encode", "train_rows": N, "rows": N, "k": K} -> {}
    {"op": "time", "min_seconds": 0.1}                  -> {"seconds": per round, "rounds": N}
    {"op": "quality", "queries": N}                     -> {"mse": X} or {"ids": [[...], ...]}

Whatever goes wrong is answered by {"error": "..."}. The process ends when its input does.
"""
import ctypes, json, os, sys, time

# Answers go to the real standard output; whatever libraries print goes to standard error.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
try:
    ctypes.CDLL(None).prctl(1, 9)  # Linux: end with the parent, even in the middle of a long training
except (AttributeError, OSError):
    pass

import faiss
import numpy as np


class Kmeans:
    """One codebook for whole vectors."""

    def __init__(self, d, codec):
        self.d, self.k, self.iterations = d, codec["k"], codec["iterations"]

    def train(self, x):
        self.kmeans = faiss.Kmeans(
            self.d, self.k, niter=self.iterations, max_points_per_centroid=len(x), min_points_per_centroid=1
        )
        self.kmeans.train(x)

    def mse(self, x):
        return float(self.kmeans.index.search(x, 1)[0].mean(dtype="f8"))


class Quantizer:
    """What encodes to rows of bytes and decodes them."""

    def __init__(self, d, codec):
        self.d, self.codec = d, codec
        self.quantizer = self.make()

    def train(self, x):
        self.quantizer.train(x)

    def encode(self, x):
        return self.quantizer.compute_codes(x)

    def decode(self, codes):
        return self.quantizer.decode(codes)

    def decoder(self, codes):
        return lambda: self.decode(codes)

    def mse(self, x):
        return mse(x, self.decode(self.encode(x)))


class Pq(Quantizer):
    def make(self):
        quantizer = faiss.ProductQuantizer(self.d, self.codec["m"], self.codec["bits"])
        quantizer.cp.niter = self.codec["iterations"]
        return quantizer

    def decoder(self, codes):
        # Into rows that are there already, as ours are.
        rows = np.empty((len(codes), self.d), dtype="f4")
        return lambda: self.quantizer.decode_c(faiss.swig_ptr(codes), faiss.swig_ptr(rows), len(codes))

    def index(self, x):
        index = faiss.IndexPQ(self.d, self.codec["m"], self.codec["bits"])
        index.pq, index.is_trained = self.quantizer, True
        index.add(x)
        return index


class Opq(Quantizer):
    """Training is that of the rotation alone; the codebooks behind it are fitted for the distortion only."""

    def make(self):
        self.rotation = faiss.OPQMatrix(self.d, self.codec["m"])
        self.rotation.niter = self.codec["iterations"]
        return faiss.ProductQuantizer(self.d, self.codec["m"], self.codec["bits"])

    def train(self, x):
        self.rotation.train(x)
        self.rows = x

    def mse(self, x):
        self.quantizer.train(self.rotation.apply(self.rows))
        rotated = self.rotation.apply(x)
        return mse(rotated, self.decode(self.encode(rotated)))


class Rvq(Quantizer):
    def make(self):
        quantizer = faiss.ResidualQuantizer(self.d, self.codec["stages"], self.codec["bits"])
        quantizer.max_beam_size = self.codec["beam"]
        quantizer.cp.niter = self.codec["iterations"]
        return quantizer


class Lsq(Quantizer):
    def make(self):
        quantizer = faiss.LocalSearchQuantizer(self.d, self.codec["m"], self.codec["bits"])
        quantizer.train_iters = self.codec["iterations"]
        quantizer.train_ils_iters = self.codec["training_rounds"]
        quantizer.encode_ils_iters = self.codec["rounds"]
        return quantizer


class Sq(Quantizer):
    def make(self):
        return faiss.IndexScalarQuantizer(self.d, faiss.ScalarQuantizer.QT_8bit)

    def encode(self, x):
        return self.quantizer.sa_encode(x)

    def decode(self, codes):
        return self.quantizer.sa_decode(codes)

    def index(self, x):
        self.quantizer.reset()
        self.quantizer.add(x)
        return self.quantizer


class Index:
    """What only searches."""

    def __init__(self, d, codec):
        self.made = self.make(d, codec)

    def train(self, x):
        self.made.train(x)

    def index(self, x):
        self.made.reset()
        self.made.add(x)
        return self.made


class PqFastScan(Index):
    def make(self, d, codec):
        index = faiss.IndexPQFastScan(d, codec["m"], 4)
        index.pq.cp.niter = codec["iterations"]
        return index


class RaBitQ(Index):
    """As published: behind a random rotation."""

    def make(self, d, codec):
        self.rotation, self.codes = faiss.RandomRotationMatrix(d, d), faiss.IndexRaBitQ(d)
        return faiss.IndexPreTransform(self.rotation, self.codes)


class Flat(Index):
    def make(self, d, codec):
        return faiss.IndexFlatL2(d)


CODECS = {
    "kmeans": Kmeans, "pq": Pq, "opq": Opq, "rvq": Rvq, "lsq": Lsq, "sq8": Sq, "pq-fast-scan": PqFastScan, "rabitq": RaBitQ,
    "flat": Flat,
}  # fmt: skip


def mse(x, decoded):
    """Mean of the squared distances, in blocks, so that no matrix of doubles is made."""
    blocks = range(0, len(x), 4096)
    return sum(float(((x[i : i + 4096] - decoded[i : i + 4096]).astype("f8") ** 2).sum()) for i in blocks) / len(x)


class Peer:
    def __init__(self):
        self.trained = {}

    def hello(self, request):
        faiss.omp_set_num_threads(request["threads"])
        return {"faiss": faiss.__version__, "numpy": np.__version__, "options": faiss.get_compile_options().strip()}

    def load(self, request):
        self.trained = {}
        parts = (np.ascontiguousarray(np.load(request[part]), dtype="f4") for part in ("train", "base", "queries"))
        self.train, self.base, self.queries = parts
        return {}

    def prepare(self, request):
        codec, stage = request["codec"], request["stage"]
        train, self.rows = self.train[: request["train_rows"]], self.base[: request["rows"]]
        self.k = request["k"]
        make = lambda: CODECS[codec["kind"]](self.base.shape[1], codec)
        if stage == "train":

            def work():
                self.codec = make()
                self.codec.train(train)

        else:
            key = json.dumps([codec, len(train)])
            if key not in self.trained:
                self.trained[key] = make()
                self.trained[key].train(train)
            self.codec = self.trained[key]
            if stage == "encode":
                work = lambda: self.codec.encode(self.rows)
            elif stage == "decode":
                work = self.codec.decoder(self.codec.encode(self.rows))
            else:
                self.index = self.codec.index(self.rows)
                work = lambda: self.index.search(self.queries, self.k)
        self.stage, self.work = stage, work
        return {}

    def time(self, request):
        start, rounds = time.perf_counter(), 0
        while True:
            self.work()
            rounds += 1
            elapsed = time.perf_counter() - start
            if elapsed >= request["min_seconds"]:
                return {"seconds": elapsed / rounds, "rounds": rounds}

    def quality(self, request):
        if self.stage == "search":
            return {"ids": self.index.search(self.queries[: request["queries"]], self.k)[1].tolist()}
        return {"mse": self.codec.mse(self.rows)}


peer = Peer()
for line in sys.stdin:
    try:
        request = json.loads(line)
        if request["op"] not in ("hello", "load", "prepare", "time", "quality"):
            raise ValueError("no such request: " + request["op"])
        answer = getattr(peer, request["op"])(request)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    answers.write(json.dumps(answer) + "\n")
