"""turbovec: TurboQuant, with levels from theory instead of training, and its own scan over codes.

What it does not do: its codes are inside its index, so there is no `encode` and `decode`. It searches by inner product, so by distance only where all rows
have unit length, as with cosine similarity. It always rotates with the same matrix.
"""

import vqbench
import dataclasses, typing
import numpy as np
import turbovec


@dataclasses.dataclass
class Params:
    bits: typing.Literal[2, 4] = 4  # of a component
    calibration_rows: int = 1024  # training rows that scales of components are fitted to; 0 leaves the levels as theory has them


class Turbovec(vqbench.Adapter):
    name, version, licence = "turbovec", turbovec.__version__, "MIT"
    capabilities, metrics, seedable = ["search_base", "save", "restore"], ["l2", "ip"], True

    def __init__(self, params, threads, dim):
        super().__init__(params, threads, dim)
        if dim is not None and dim % 8:
            raise vqbench.Wrong("bits", f"turbovec needs a multiple of 8 components, not {dim}")

    def use_threads(self, threads):
        # RAYON_NUM_THREADS has set its number of threads for good: single queries get one processor.
        vqbench.use_processors(None if threads == self.threads else threads)

    def check(self, rows):
        if self.metric == "l2" and not vqbench.are_unit(rows):
            raise ValueError("turbovec searches by inner product: for distances, all rows must have unit length; use the metric cosine or ip")

    def fit(self, rows, seed, metric):
        self.metric = metric
        self.check(rows)
        index = turbovec.TurboQuantIndex(rows.shape[1], self.params.bits)
        if self.params.calibration_rows > 0:
            draw = np.random.default_rng(seed).permutation(len(rows))[: self.params.calibration_rows]
            index.calibrate(rows[np.sort(draw)])
        self.index = index

    def hold_base(self, rows):
        self.check(rows)
        for row in reversed(range(len(self.index))):
            self.index.swap_remove(row)
        self.index.add(rows)
        self.index.prepare()

    def search(self, queries, k):
        found = self.index.search(queries, k)[1]
        return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1)

    def save(self, path):
        self.index.write(path, durable=False)

    def restore(self, path, metric):
        self.index = turbovec.TurboQuantIndex.load(path)
        self.metric = metric


vqbench.serve(Turbovec, Params)
