"""Intel's Scalable Vector Search (`svs`): locally-adaptive vector quantization (LVQ) and a scan over it.

What it does not do: its codes are inside its index, so there is no `encode` and `decode`. Its scan (`Flat`) cannot be saved, so the bytes of a row are
unknown here: about the bits of all components and 4 bytes, and padding. No graphs. It runs on processors with AVX2 or AVX-512.
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
    capabilities, metrics, seedable = ["search_base"], ["l2", "ip"], True

    def use_threads(self, threads):
        if hasattr(self, "index"):
            self.index.num_threads = threads

    def fit(self, rows, seed, metric):
        """Nothing is trained: scales and the mean are those of the rows that are stored."""
        self.distance = svs.DistanceType.MIP if metric == "ip" else svs.DistanceType.L2

    def hold_base(self, rows):
        primary, residual = {"8": (8, 0), "4x4": (4, 4)}[self.params.levels]
        with vqbench.folder() as folder:
            path = os.path.join(folder, "rows.fvecs")
            svs.write_vecs(rows, path)
            vectors = svs.VectorDataLoader(path, svs.DataType.float32, dims=rows.shape[1])
            loader = svs.LVQLoader(vectors, primary=primary, residual=residual, padding=self.params.padding)
            self.index = svs.Flat(loader, self.distance, num_threads=self.threads)

    def search(self, queries, k):
        most = min(k, self.index.size)
        found = self.index.search(queries, most)[0].astype("i8")
        return np.pad(found, ((0, 0), (0, k - most)), constant_values=-1)


vqbench.serve(Svs, Params)
