"""ScaNN: asymmetric hashing, which is product quantization with codebooks of 16 or 256 codewords, trained for inner products if asked to.

What it does not do: its codes are inside its index, so there is no `encode` and `decode`; no partitions and no search again with exact vectors. It trains in
the same way for every seed.
"""

import vqbench
import dataclasses, importlib.metadata, os, typing
import numpy as np
from scann import scann_ops_pybind as scann


@dataclasses.dataclass
class Params:
    dims_per_block: int = 2  # components that one symbol stands for
    table: typing.Literal["lut16", "lut256"] = "lut16"  # 16 codewords of a block and a search in registers, or 256
    anisotropic_threshold: float | None = None  # as a part of the length of rows; ScaNN advises 0.2
    iterations: int = 10  # of k-means


class ScaNN(vqbench.Adapter):
    name, version, licence = "scann", importlib.metadata.version("scann"), "Apache-2.0"
    capabilities, metrics, seedable = ["search_base", "save", "restore"], ["l2", "ip"], True

    def __init__(self, params, threads, dim):
        super().__init__(params, threads, dim)
        if params.dims_per_block < 1 or dim is not None and params.dims_per_block > dim:
            raise vqbench.Wrong("dims_per_block", f"`dims-per-block` must be 1 to {dim or 'the dimension'}, not {params.dims_per_block}")

    def use_threads(self, threads):
        self.now = threads
        if hasattr(self, "searcher"):
            self.searcher.set_num_threads(threads)

    def fit(self, rows, seed, metric):
        params, weigh = self.params, self.params.anisotropic_threshold
        if metric == "l2" and weigh is not None and not vqbench.are_unit(rows):
            raise vqbench.Wrong("anisotropic_threshold", "weights are for inner products: leave it out, or use the metric cosine or ip")
        measure = "dot_product" if metric == "ip" or weigh is not None else "squared_l2"
        # ScaNN's threshold is in the unit of the rows, and 0.2 is meant for rows of unit length.
        threshold = float("nan") if weigh is None else weigh * float(np.linalg.norm(rows, axis=1).mean())
        builder = scann.builder(rows, 1, measure).set_n_training_threads(self.threads)
        builder.score_ah(params.dims_per_block, threshold, len(rows), hash_type=params.table, training_iterations=params.iterations)
        self.searcher = builder.build(docids=[-1 - row for row in range(len(rows))])
        self.remove()

    def remove(self):
        """Removes all rows; codebooks stay."""
        self.searcher.delete(list(self.searcher.docids))

    def hold_base(self, rows):
        self.remove()
        self.searcher.upsert(list(range(len(rows))), rows, 4096)
        self.use_threads(self.threads)

    def search(self, queries, k):
        most = min(k, self.searcher.size())
        # Row numbers are those of insertion; ScaNN would translate them in a loop of Python.
        found = self.searcher.searcher.search_batched(queries, most, -1, -1, self.now > 1, 256)[0].astype("i8")
        return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1)

    def search_one(self, query, k):
        return self.searcher.searcher.search(query, min(k, self.searcher.size()), -1, -1)

    def save(self, path):
        with vqbench.folder() as folder:
            self.searcher.searcher.serialize(folder, True)
            file = os.path.join(folder, "hashed_dataset.npy")
            codes = np.load(file, allow_pickle=False)
            if self.params.table == "lut16":  # ScaNN writes a byte for each symbol of 4 bits; in memory a byte holds two
                even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
                np.save(file, even[:, 0::2] | even[:, 1::2] << 4)
                os.rename(file, file + f".{codes.shape[1]}")
            vqbench.pack(folder, path)

    def restore(self, path, metric):
        with vqbench.unpack(path) as folder:
            for name in (name for name in os.listdir(folder) if name.startswith("hashed_dataset.npy.")):
                with open(os.path.join(folder, name), "rb") as file:
                    codes = np.load(file, allow_pickle=False)
                codes = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)
                np.save(os.path.join(folder, "hashed_dataset.npy"), codes[:, : int(name.rsplit(".", 1)[1])])
            self.searcher = scann.load_searcher(folder)
        rows = self.searcher.size()
        self.searcher.docids, self.searcher.docid_to_id = list(range(rows)), {row: row for row in range(rows)}


vqbench.serve(ScaNN, Params)
