"""USearch: vectors in numbers of 8 to 32 bits, searched by a scan or through its graph (HNSW).

What it does not do: its numbers are inside its index, so there is no `encode` and `decode`. The index always has the graph, so what is saved and the time of
adding rows include it. With `i8` it keeps directions alone: rows must have unit length, as with cosine similarity.
"""

import vqbench
import dataclasses, typing
import numpy as np
import usearch
from usearch.index import Index


@dataclasses.dataclass
class Params:
    dtype: typing.Literal["f32", "bf16", "f16", "e5m2", "e4m3", "e3m2", "e2m3", "i8"] = "i8"  # the type of stored components
    exact: bool = True  # scan all rows; false searches through the graph
    connectivity: int | None = None  # edges of a row in the graph; without it 16
    expansion: int | None = None  # rows that a search through the graph keeps; without it 64


class USearch(vqbench.Adapter):
    name, version, licence = "usearch", usearch.__version__, "Apache-2.0"
    capabilities, metrics, seedable = ["search_base", "save", "restore"], ["l2", "ip"], True

    def use_threads(self, threads):
        self.now = threads

    def fit(self, rows, seed, metric):
        """Nothing is trained."""
        self.dim, self.metric = rows.shape[1], metric
        self.index = self.empty()

    def empty(self):
        params, metric = self.params, "ip" if self.metric == "ip" else "l2sq"
        return Index(
            ndim=self.dim, metric=metric, dtype=params.dtype, connectivity=params.connectivity, expansion_search=params.expansion
        )

    def hold_base(self, rows):
        if self.params.dtype == "i8" and not vqbench.are_unit(rows):
            raise ValueError("USearch keeps directions alone with `dtype: i8`: use the metric cosine, or another `dtype`")
        self.index = self.empty()
        self.index.add(np.arange(len(rows)), rows, threads=self.threads)

    def search(self, queries, k):
        most = min(k, len(self.index))
        found = self.index.search(queries, most, exact=self.params.exact, threads=self.now)
        rows = np.asarray(found.keys).reshape(len(queries), -1).astype("i8")
        counts = np.broadcast_to(getattr(found, "counts", rows.shape[1]), len(queries))
        rows[np.arange(rows.shape[1]) >= counts[:, None]] = -1
        return np.pad(rows, ((0, 0), (0, k - rows.shape[1])), constant_values=-1)

    def save(self, path):
        self.index.save(path)

    def restore(self, path, metric):
        self.metric, self.index = metric, Index.restore(path)
        self.dim = self.index.ndim
        if self.params.expansion is not None:
            self.index.expansion_search = self.params.expansion


vqbench.serve(USearch, Params)
