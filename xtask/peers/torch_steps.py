#!/usr/bin/env python3
"""The steps of `xtask gpu-check` in PyTorch, at the same sizes, for ratios.

It needs PyTorch and nothing else:

    python3 torch_steps.py --out torch.csv
    xtask gpu-check --skip law: --skip codes: --torch torch.csv

Each step is written as one writes it in PyTorch without kernels of one's own: a product of matrices over chunks of rows and the least of
what it gives, in f32 (`--tf32` lets tensor cores round to TF32). After a warm-up every repeat is timed by events of the device, from a
queue that was empty; vectors are made on the device before. `--scale` makes sizes smaller as there, and on a processor
(`--device cpu --scale 0.00001`) everything runs, to see that it does.

Writes CSV: step,n,dim,k,device,repeat,seconds.
"""

import argparse
import csv
import sys
import time

import torch

DIM = 128

# Values of a chunk of products: 4 GB in f32.
CHUNK_VALUES = 1 << 30


class Setting:
    def __init__(self, arguments):
        self.device = torch.device(arguments.device)
        self.scale = arguments.scale
        self.repeats = arguments.repeats
        self.generator = torch.Generator(device=self.device).manual_seed(arguments.seed)

    def rows(self, n):
        return max(int(n * self.scale), 100)

    def codewords(self, k):
        return max(int(k * min(100 * self.scale, 1.0)), 16)

    def normal(self, *shape):
        return torch.randn(*shape, device=self.device, generator=self.generator)

    def symbols(self, limit, *shape):
        return torch.randint(limit, shape, device=self.device, generator=self.generator)

    def time(self, work, repeats=None):
        """Seconds of each repeat."""
        work()
        seconds = []
        for _ in range(min(self.repeats, repeats or self.repeats)):
            if self.device.type != "cuda":
                start = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - start)
                continue
            torch.cuda.synchronize()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            end.synchronize()
            seconds.append(start.elapsed_time(end) / 1e3)
        return seconds


def nearest(rows, codewords, out):
    """The nearest codeword of each row, chunk by chunk: least of half the squared norm less the product."""
    norms = 0.5 * (codewords * codewords).sum(1)
    chunk = max(1, CHUNK_VALUES // codewords.shape[0])
    for start in range(0, rows.shape[0], chunk):
        part = rows[start : start + chunk]
        torch.argmin(torch.addmm(norms, part, codewords.T, alpha=-1.0), dim=1, out=out[start : start + chunk])
    return out


def assign(setting, k):
    n, k = setting.rows(10_000_000), setting.codewords(k)
    rows, codewords = setting.normal(n, DIM), setting.normal(k, DIM)
    out = torch.empty(n, dtype=torch.int64, device=setting.device)
    return n, DIM, k, setting.time(lambda: nearest(rows, codewords, out))


def pq16x8_encode(setting):
    groups, size = 16, DIM // 16
    n, k = setting.rows(50_000_000), setting.codewords(256)
    # Chunks that fit; where not all rows do, the same ones again.
    at_once = min(n, max(1, CHUNK_VALUES // (groups * k)))
    resident = min(n, 8 * at_once)
    rows = setting.normal(resident, DIM)
    books = setting.normal(groups, k, size)
    norms = 0.5 * (books * books).sum(2)
    codes = torch.empty(at_once, groups, dtype=torch.uint8, device=setting.device)

    def work():
        place = 0
        for start in range(0, n, at_once):
            count = min(at_once, n - start)
            part = rows[place : place + count].view(count, groups, size).transpose(0, 1)
            scores = torch.baddbmm(norms.unsqueeze(1), part, books.transpose(1, 2), alpha=-1.0)
            codes[:count] = scores.argmin(2).T
            place = 0 if place + 2 * at_once > resident else place + at_once

    return n, DIM, k, setting.time(work)


def rvq8x8_beam5(setting):
    stages, beam = 8, 5
    n, k = setting.rows(1_000_000), setting.codewords(256)
    rows = setting.normal(n, DIM)
    books = [setting.normal(k, DIM) * (0.5 / (1 + stage)) for stage in range(stages)]
    norms = [(book * book).sum(1) for book in books]
    codes = torch.empty(n, stages, dtype=torch.uint8, device=setting.device)
    at_once = max(1, min(n, CHUNK_VALUES // (4 * beam * max(k, DIM))))

    def work():
        for start in range(0, n, at_once):
            part = rows[start : start + at_once]
            count = part.shape[0]
            rest = part.unsqueeze(1)
            errors = torch.zeros(count, 1, device=setting.device)
            code = torch.zeros(count, 1, 0, dtype=torch.uint8, device=setting.device)
            for book, norm in zip(books, norms):
                width = rest.shape[1]
                scores = errors.unsqueeze(2) + norm - 2.0 * (rest @ book.T)
                errors, place = scores.view(count, width * k).topk(min(beam, width * k), dim=1, largest=False)
                parent, symbol = torch.div(place, k, rounding_mode="floor"), place % k
                rest = rest.gather(1, parent.unsqueeze(2).expand(-1, -1, DIM)) - book[symbol]
                code = code.gather(1, parent.unsqueeze(2).expand(-1, -1, code.shape[2]))
                code = torch.cat([code, symbol.unsqueeze(2).to(torch.uint8)], dim=2)
            best = errors.argmin(1)
            codes[start : start + count] = code[torch.arange(count, device=setting.device), best]

    return n, DIM, k, setting.time(work)


def sums_of_cells(rows, cells, sums, counts):
    sums.zero_().index_add_(0, cells, rows)
    counts.zero_().index_add_(0, cells, torch.ones_like(cells, dtype=torch.float32))


def cell_sums(setting):
    n, k = setting.rows(10_000_000), setting.codewords(4096)
    rows, cells = setting.normal(n, DIM), setting.symbols(k, n)
    sums, counts = torch.empty(k, DIM, device=setting.device), torch.empty(k, device=setting.device)
    return n, DIM, k, setting.time(lambda: sums_of_cells(rows, cells, sums, counts))


def kmeans_iteration(setting):
    n, k = setting.rows(10_000_000), setting.codewords(4096)
    rows, centroids = setting.normal(n, DIM), setting.normal(k, DIM)
    cells = torch.empty(n, dtype=torch.int64, device=setting.device)
    sums, counts = torch.empty(k, DIM, device=setting.device), torch.empty(k, device=setting.device)

    def work():
        nearest(rows, centroids, cells)
        sums_of_cells(rows, cells, sums, counts)
        return torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centroids)

    return n, DIM, k, setting.time(work)


def kmeans_fit(setting):
    """k-means++ and ten iterations, from rows in the host's memory."""
    n, k = setting.rows(10_000_000), setting.codewords(4096)
    rows = setting.normal(n, DIM).cpu()

    def work():
        there = rows.to(setting.device)
        norms = (there * there).sum(1)
        centroids = torch.empty(k, DIM, device=setting.device)
        centroids[0] = there[0]
        distances = None
        for start in range(1, k):
            last = centroids[start - 1]
            fresh = torch.addmv(norms, there, last, alpha=-2.0).add_(last @ last).clamp_(min=0.0)
            distances = fresh if distances is None else torch.minimum(distances, fresh, out=distances)
            # Summed in f64; of a number of weights that torch.multinomial does not take.
            ends = distances.cumsum(0, dtype=torch.float64)
            point = torch.rand(1, device=setting.device, generator=setting.generator, dtype=torch.float64) * ends[-1]
            centroids[start] = there[torch.searchsorted(ends, point).clamp_(max=n - 1)[0]]
        cells = torch.empty(n, dtype=torch.int64, device=setting.device)
        sums, counts = torch.empty(k, DIM, device=setting.device), torch.empty(k, device=setting.device)
        for _ in range(10):
            nearest(there, centroids, cells)
            sums_of_cells(there, cells, sums, counts)
            centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centroids)
        nearest(there, centroids, cells)
        return centroids.cpu()

    return n, DIM, k, setting.time(work, repeats=2)


def adc_scan(setting, queries):
    positions = 16
    n = setting.rows(100_000_000)
    codes = torch.empty(n, positions, dtype=torch.uint8, device=setting.device).random_(0, 256, generator=setting.generator)
    tables = setting.normal(queries, positions, 256)
    chunk = min(n, 1 << 22)
    count = min(10, n)

    def work():
        for table in tables:
            best = None
            for start in range(0, n, chunk):
                part = codes[start : start + chunk]
                scores = torch.zeros(part.shape[0], device=setting.device)
                for position in range(positions):
                    scores += table[position][part[:, position].long()]
                values, ids = scores.topk(min(count, part.shape[0]), largest=False)
                found = (values, ids + start)
                best = found if best is None else tuple(map(torch.cat, zip(best, found)))
            best[0].topk(count, largest=False)

    return n, positions, queries, setting.time(work)


def hamming_scan(setting):
    size = 16
    n = setting.rows(100_000_000)
    codes = torch.empty(n, size, dtype=torch.uint8, device=setting.device).random_(0, 256, generator=setting.generator)
    query = torch.empty(size, dtype=torch.uint8, device=setting.device).random_(0, 256, generator=setting.generator)
    bits = torch.tensor([bin(byte).count("1") for byte in range(256)], dtype=torch.uint8, device=setting.device)
    chunk, count = min(n, 1 << 22), min(10, n)

    def work():
        best = None
        for start in range(0, n, chunk):
            distances = bits[torch.bitwise_xor(codes[start : start + chunk], query).long()].sum(1, dtype=torch.int32)
            values, ids = distances.topk(min(count, distances.shape[0]), largest=False)
            found = (values, ids + start)
            best = found if best is None else tuple(map(torch.cat, zip(best, found)))
        best[0].topk(count, largest=False)

    return n, DIM, 1, setting.time(work)


LOW, STEP = -4.0, 8.0 / 255.0


def scalar8_encode(setting):
    n = setting.rows(20_000_000)
    rows = setting.normal(n, DIM)
    codes = torch.empty(n, DIM, dtype=torch.uint8, device=setting.device)
    chunk = min(n, CHUNK_VALUES // DIM)

    def work():
        for start in range(0, n, chunk):
            codes[start : start + chunk] = ((rows[start : start + chunk] - LOW) / STEP + 0.5).floor_().clamp_(0, 255)

    return n, DIM, 1, setting.time(work)


def scalar8_decode(setting):
    n = setting.rows(20_000_000)
    codes = torch.empty(n, DIM, dtype=torch.uint8, device=setting.device).random_(0, 256, generator=setting.generator)
    rows = torch.empty(n, DIM, device=setting.device)
    return n, DIM, 1, setting.time(lambda: rows.copy_(codes).mul_(STEP).add_(LOW))


def pq16x8_decode(setting):
    groups = 16
    n = setting.rows(20_000_000)
    symbols = setting.symbols(256, n, groups)
    books = setting.normal(groups, 256, DIM // groups)
    rows = torch.empty(n, groups, DIM // groups, device=setting.device)

    def work():
        for group in range(groups):
            rows[:, group] = books[group][symbols[:, group]]

    return n, DIM, 1, setting.time(work)


def exact_10(setting):
    n, queries = setting.rows(1_000_000), setting.rows(10_000)
    base, asked = setting.normal(n, DIM), setting.normal(queries, DIM)
    chunk = max(1, CHUNK_VALUES // n)

    def work():
        norms = 0.5 * (base * base).sum(1)
        for start in range(0, queries, chunk):
            scores = torch.addmm(norms, asked[start : start + chunk], base.T, alpha=-1.0)
            scores.topk(min(10, n), dim=1, largest=False)

    return n, DIM, queries, setting.time(work)


STEPS = {
    "assign-4k": lambda setting: assign(setting, 4096),
    "assign-64k": lambda setting: assign(setting, 65_536),
    "pq16x8-encode": pq16x8_encode,
    "rvq8x8-beam5": rvq8x8_beam5,
    "cell-sums": cell_sums,
    "kmeans-iteration": kmeans_iteration,
    "kmeans-fit": kmeans_fit,
    "adc-scan": lambda setting: adc_scan(setting, 1),
    "adc-scan-32": lambda setting: adc_scan(setting, 32),
    "hamming-scan": hamming_scan,
    "scalar8-encode": scalar8_encode,
    "scalar8-decode": scalar8_decode,
    "pq16x8-decode": pq16x8_decode,
    "exact-10": exact_10,
}


def main():
    parser = argparse.ArgumentParser(description="Times the steps of `xtask gpu-check` in PyTorch.")
    parser.add_argument("--out", default="torch.csv", help="file of the times (default: %(default)s)")
    parser.add_argument("--device", default="cuda", help="PyTorch's name of the device (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="sizes times this (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="repeats after a warm-up (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only the steps whose name contains this")
    parser.add_argument("--tf32", action="store_true", help="products of matrices in TF32")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA device here; `--device cpu --scale 0.00001` shows that the steps run")
    torch.backends.cuda.matmul.allow_tf32 = arguments.tf32
    setting = Setting(arguments)
    with open(arguments.out, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["step", "n", "dim", "k", "device", "repeat", "seconds"])
        for name, step in STEPS.items():
            if arguments.only not in name:
                continue
            try:
                with torch.inference_mode():
                    n, dim, k, seconds = step(setting)
            except torch.cuda.OutOfMemoryError as error:
                print(f"{name}: left out, {str(error).splitlines()[0]}", flush=True)
                continue
            finally:
                if setting.device.type == "cuda":
                    torch.cuda.empty_cache()
            for repeat, taken in enumerate(seconds):
                table.writerow([name, n, dim, k, setting.device.type, repeat, f"{taken:.9g}"])
            file.flush()
            middle = sorted(seconds)[len(seconds) // 2]
            print(f"{name}: {middle:.6g} s, {n / middle:.4g} a second", flush=True)


if __name__ == "__main__":
    main()
