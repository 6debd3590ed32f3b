"""The RaBitQ library of its authors: codes of 1 to 9 bits per component around one or more centroids, and its own scan over them.

What it does not do: its codes are inside its index, so there is no `encode` and `decode`; no graphs. The index rotates with a random source
of its own, which has no seed.
"""

import vqbench
import dataclasses, importlib.metadata, os
import numpy as np
import rabitqlib


@dataclasses.dataclass
class Params:
    bits: int = 1  # of a component, 1 to 9
    clusters: int = 1  # centroids; a code is that of the difference to the nearest
    probes: int | None = None  # clusters that a search scans; without it all
    fast_quantization: bool = False  # scales codes by a constant instead of the best factor of each row


class RaBitQ(vqbench.Adapter):
    name, version, licence = "rabitqlib", importlib.metadata.version("rabitqlib"), "Apache-2.0"
    capabilities, metrics = ["search_base", "save", "restore"], ["l2", "ip"]

    def __init__(self, params, threads, dim):
        super().__init__(params, threads, dim)
        for name, least, most in (("bits", 1, 9), ("clusters", 1, 1 << 16), ("probes", 1, params.clusters)):
            value = getattr(params, name)
            if value is not None and not least <= value <= most:
                raise vqbench.Wrong(name, f"`{name}` must be {least} to {most}, not {value}")
        if dim is not None and not 64 <= dim <= 65536:
            raise ValueError(f"the RaBitQ library takes vectors of 64 to 65536 components, not {dim}")
        self.probes = params.probes or params.clusters

    def use_threads(self, threads):
        self.now = threads

    def fit(self, rows, seed, metric):
        self.metric, self.centroids = metric, rows.mean(0, keepdims=True)
        if self.params.clusters > 1:
            exact = rabitqlib.FinalAssignmentMode.Exact
            kmeans = rabitqlib.RaBitQKMeans(
                rows.shape[1], self.params.clusters, seed=seed % 2**31, num_threads=self.threads, final_assignment=exact
            )
            kmeans.train(rows)
            self.centroids = kmeans.centroids
        # An index of one row, so that what is saved before a search has no others.
        self.hold_base(self.centroids[:1])

    def hold_base(self, rows):
        half = 0.5 * np.einsum("ij,ij->i", self.centroids, self.centroids)
        blocks = [rows[start : start + 8192] for start in range(0, len(rows), 8192)]
        nearest = np.concatenate([np.argmin(half - block @ self.centroids.T, axis=1) for block in blocks])
        index = rabitqlib.IvfIndex(rows.shape[1], len(rows), len(self.centroids), self.params.bits, self.metric)
        index.build(rows, self.centroids, nearest.astype("u4"), self.threads, self.params.fast_quantization)
        self.index = index

    def search(self, queries, k):
        most = min(k, self.index.num_points)
        found = self.index.search(queries, most, self.probes, num_threads=self.now)[0].astype("i8")
        found[found == 2**32 - 1] = -1
        return np.pad(found, ((0, 0), (0, k - most)), constant_values=-1)

    def save(self, path):
        with vqbench.folder() as folder:
            self.index.save(os.path.join(folder, "index"))
            np.save(os.path.join(folder, "centroids.npy"), self.centroids)  # for other rows later
            vqbench.pack(folder, path)

    def restore(self, path, metric):
        with vqbench.unpack(path) as folder:
            self.index, self.metric = rabitqlib.IvfIndex.load(os.path.join(folder, "index")), metric
            self.centroids = np.load(os.path.join(folder, "centroids.npy"), allow_pickle=False)


vqbench.serve(RaBitQ, Params)
