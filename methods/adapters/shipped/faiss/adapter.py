"""FAISS: the index of any factory string, with codes from `sa_encode` and the index's own search over them.

Indexes over flat codes (PQ, OPQ, SQ, RQ, LSQ, PRQ, RaBitQ, LSH, lattices, Flat, behind any transforms) and the fast scans of PQ and RaBitQ can
`encode` and `search`. All others (HNSW, IVF, other fast scans) store vectors themselves. What it does not do: LSH and RaBitQ of several bits do not
decode, since FAISS decodes them to signs alone; codes of LSQ depend on the rows beside them, which FAISS perturbs with one random source; no GPU.
"""
import vqbench
import dataclasses, math, re, faiss
import numpy as np

CODED = (faiss.IndexFlatCodes, faiss.IndexPQFastScan, faiss.IndexRaBitQFastScan)
NAMES = {"niter": "iterations", "train_iters": "iterations", "max_beam_size": "beam", "qb": "query_bits",
         "max_points_per_centroid": "rows_per_codeword"}  # fmt: skip
ROTATIONS = {"niter": "rotation_iterations", "max_iter": "rotation_iterations"}


@dataclasses.dataclass
class Params:
    codec: str = "PQ16x8"  # a factory string of FAISS
    iterations: int | None = None  # of k-means and LSQ; without it 25, and 10 of RQ
    rotation_iterations: int | None = None  # of OPQ and ITQ; without it 50. They start at random and are bad after few
    rows_per_codeword: int | None = None  # training rows that k-means uses, at most; without it 256
    beam: int | None = None  # of residual quantizers; without it 5
    query_bits: int | None = None  # of queries of RaBitQ; 0 keeps queries in full; without it FAISS's own number


class Faiss(vqbench.Adapter):
    name, version, licence, seedable = "faiss", faiss.__version__, "MIT", True

    def __init__(self, params, threads, dim):
        super().__init__(params, threads, dim)
        # While the dimension is unknown, one that all numbers of the codec divide shows whether FAISS knows the codec.
        numbers = [int(n) for n in re.findall(r"\d+", params.codec) if 0 < int(n) < 5000]
        index = self.build(dim or min(8 * math.lcm(1, *numbers), 1 << 14), "l2", 0)
        core = self.core(index)
        coded, lsh = isinstance(core, CODED), isinstance(core, faiss.IndexLSH)
        decoded = coded and not lsh and (not hasattr(core, "rabitq") or core.rabitq.nb_bits == 1)
        self.capabilities = ["encode", "search"] * coded + ["decode"] * decoded + ["search_base"] * (not coded) + ["save", "restore"]
        self.metrics = ["l2"] if lsh else ["l2", "ip"]
        self.seedable = "LSQ" not in params.codec
        self.code_bytes = index.sa_code_size() if coded and dim else None

    def use_threads(self, threads):
        faiss.omp_set_num_threads(threads)

    def core(self, index):  # the index behind its transforms
        return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index

    def build(self, dim, metric, seed):  # the index of the codec, with all parameters, before training
        try:
            index = faiss.index_factory(dim, self.params.codec, faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2)
        except Exception as error:
            raise vqbench.Wrong("codec", f"FAISS refuses `{self.params.codec}` for {dim} components: {error}")
        core, used = self.core(index), set()
        if isinstance(core, faiss.IndexPQ):  # it renumbers codewords for a search that is not used here, and takes most of the training
            core.do_polysemous_training = False
        parts = [core] if core is index else [core, *(faiss.downcast_VectorTransform(index.chain.at(i)) for i in range(index.chain.size()))]
        for part in parts:
            if isinstance(part, faiss.OPQMatrix):  # the quantizer that it trains with, which it would make itself
                part.pq = self.opq = faiss.ProductQuantizer(part.d_out, part.M, 8)
            elif isinstance(part, faiss.RandomRotationMatrix):
                part.init(seed)
            for name in ("pq", "rq", "lsq", "itq", "cp"):
                parts += [getattr(part, name)] if getattr(part, name, None) is not None else []
            parts += [faiss.downcast_AdditiveQuantizer(part.prq.subquantizer(i)) for i in range(part.prq.nsplits)] if hasattr(part, "prq") else []
            names = ROTATIONS if isinstance(part, (faiss.OPQMatrix, faiss.ITQMatrix)) else NAMES
            values = {"seed": seed, "random_seed": seed, "min_points_per_centroid": 1}
            for key, value in (values | {key: getattr(self.params, name) for key, name in names.items()}).items():
                if value is not None and hasattr(part, key):
                    setattr(part, key, value)
                    used.add(names.get(key))
        for name in sorted({*NAMES.values(), *ROTATIONS.values()} - used):
            if getattr(self.params, name) is not None:
                raise vqbench.Wrong(name, f"nothing in `{self.params.codec}` has `{name.replace('_', '-')}`: leave it out")
        return index

    def fit(self, rows, seed, metric):
        self.index = self.build(rows.shape[1], metric, seed % 2**31)
        self.index.train(rows)
        self.rows = np.empty((0, 0), dtype="f4")

    def encode(self, rows):
        return self.index.sa_encode(rows)

    def decode(self, codes):  # into rows that are there already: new memory would take half of the time
        self.rows = self.rows if len(self.rows) == len(codes) else np.zeros((len(codes), self.index.d), dtype="f4")
        return self.index.sa_decode(codes, x=self.rows)

    def hold_codes(self, codes):  # in a copy of the trained index; a fast scan packs them from a plain index
        self.held = faiss.deserialize_index(faiss.serialize_index(self.index))
        core = fast = self.core(self.held)
        if isinstance(fast, faiss.IndexPQFastScan):
            core = faiss.IndexPQ(fast.d, fast.pq.M, fast.pq.nbits, fast.metric_type)
            core.pq = fast.pq
        elif isinstance(fast, faiss.IndexRaBitQFastScan):
            core = faiss.IndexRaBitQ(fast.d, fast.metric_type, fast.rabitq.nb_bits)
            core.rabitq, core.center = fast.rabitq, fast.center
        core.is_trained = True
        core.add_sa_codes(codes)
        if core is not fast:
            packed = self.packed = type(fast)(core, fast.bbs)
            if hasattr(fast, "qb"):
                packed.qb, packed.centered = fast.qb, fast.centered
            if fast is self.held:
                self.held = packed
            else:
                self.held.index = packed
        self.held.ntotal = len(codes)

    def hold_base(self, rows):
        self.index.reset()
        self.index.add(rows)
        self.held = self.index

    def search(self, queries, k):
        return self.held.search(queries, k)[1]

    def save(self, path):
        faiss.write_index(self.index, path)

    def restore(self, path, metric):
        self.index = self.held = faiss.read_index(path)
        self.rows = np.empty((0, 0), dtype="f4")


vqbench.serve(Faiss, Params)
