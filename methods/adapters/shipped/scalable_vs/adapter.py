"""Intel's Scalable Vector Search (`svs`): locally-adaptive vector quantization (LVQ) and a scan over it.

What it does not do: its codes are inside its index, so there is no `encode` and `decode`; no graphs. Its scan has no function that saves: what is saved are the
codes of a graph index over the same rows, which are the same codes. It runs on processors with AVX2 or AVX-512.
"""

import vqbench
import dataclasses, importlib.metadata, os, typing
import numpy as np
import svs


@dataclasses.dataclass
class Params:
    levels: typing.Literal["8", "4x4"] = "8"  # bits of a component; `4x4` is 4 bits, and 4 bits of what these leave
    padding: int = 0  # rows start at multiples of so many bytes; 32 or 64 may be faster


class Svs(vqbench.Adapter):
    name, version, licence = "svs", importlib.metadata.version("scalable-vs"), "Intel Simplified Software License"
    capabilities, metrics, seedable = ["search_base", "save", "restore"], ["l2", "ip"], True

    def use_threads(self, threads):
        if hasattr(self, "index"):
            self.index.num_threads = threads

    def fit(self, rows, seed, metric):
        """Nothing is trained: scales and the mean are those of the rows that are stored."""
        self.distance = svs.DistanceType.MIP if metric == "ip" else svs.DistanceType.L2

        self.rows = np.empty((0, rows.shape[1]), dtype="f4")

    def loader(self, folder):
        """The rows in codes: those of float32 in a file, or codes that were saved."""
        path = os.path.join(folder, "rows.fvecs")
        options = {"padding": self.params.padding, "strategy": svs.LVQStrategy.Sequential}
        if not os.path.exists(path):
            return svs.LVQLoader(folder, **options)
        primary, residual = {"8": (8, 0), "4x4": (4, 4)}[self.params.levels]
        return svs.LVQLoader(svs.VectorDataLoader(path, svs.DataType.float32), primary=primary, residual=residual, **options)

    def hold_base(self, rows):
        self.rows = rows
        with vqbench.folder() as folder:
            svs.write_vecs(rows, os.path.join(folder, "rows.fvecs"))
            self.index = svs.Flat(self.loader(folder), self.distance, num_threads=self.threads)

    def search(self, queries, k):
        most = min(k, self.index.size)
        found = self.index.search(queries, most)[0].astype("i8")
        return np.pad(found, ((0, 0), (0, k - most)), constant_values=-1)

    def save(self, path):
        with vqbench.folder() as folder:
            parts = [os.path.join(folder, part) for part in ("config", "graph", "codes")]
            if len(self.rows):
                svs.write_vecs(self.rows, os.path.join(folder, "rows.fvecs"))
                alpha = 0.95 if self.distance == svs.DistanceType.MIP else 1.2
                least = svs.VamanaBuildParameters(graph_max_degree=2, window_size=2, max_candidate_pool_size=2, prune_to=1, alpha=alpha)
                svs.Vamana.build(least, self.loader(folder), self.distance, num_threads=self.threads).save(*parts)
            os.makedirs(parts[2], exist_ok=True)
            vqbench.pack(parts[2], path)

    def restore(self, path, metric):
        self.fit(np.empty((0, 0)), 0, metric)
        with vqbench.unpack(path) as folder:
            if os.listdir(folder):
                self.index = svs.Flat(self.loader(folder), self.distance, num_threads=self.threads)


vqbench.serve(Svs, Params)
