"""The learned methods of vqbench written down anew in plain PyTorch: the same networks, starts, losses, batches and schedule.

What remains different: random numbers, and that PyTorch differentiates a batch at once. The gradient of a Gumbel choice and of all else is that of
PyTorch. Nothing is measured between epochs, where vqbench computes the error and the usage of all training rows.
"""

import os, pathlib, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "methods/adapters/clients"))
import vqbench
import dataclasses, math, typing
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass
class Params:
    quantizer: typing.Literal["vqvae", "fsq", "gumbel", "rvqvae"] = "vqvae"
    codewords: int = 256  # of a codebook of vqvae, gumbel and rvqvae
    stages: int = 4  # of rvqvae
    levels: list[int] = dataclasses.field(default_factory=lambda: [8, 5, 5, 5])  # of each component of a group of fsq
    groups: int = 1  # of fsq
    hidden: int | None = None  # units of a hidden layer beside the affine maps
    size: int | None = None  # of square patches, for convolutions beside the affine maps
    channels: int = 3
    features: int = 16  # channels after the first convolution
    epochs: int = 20
    batch: int = 256
    learning_rate: float = 0.005


class Network(nn.Module):
    """An affine map, and a branch that corrects it."""

    def __init__(self, inputs, outputs, branch):
        super().__init__()
        self.straight, self.branch = nn.Linear(inputs, outputs), branch

    def forward(self, x):
        return self.straight(x) if self.branch is None else self.straight(x) + self.branch(x)


def branches(p, dim, latent):
    """The branches of encoder and decoder: random weights as He's, and a last layer of zeros."""
    if p.hidden:
        pair = [nn.Sequential(nn.Linear(a, p.hidden), nn.ReLU(), nn.Linear(p.hidden, b)) for a, b in ((dim, latent), (latent, dim))]
    elif p.size:
        s, c, f = p.size, p.channels, p.features
        small = (2 * f, s // 4, s // 4)
        there = nn.Sequential(nn.Unflatten(1, (c, s, s)), nn.Conv2d(c, f, 3, 2, 1), nn.ReLU(), nn.Conv2d(f, 2 * f, 3, 2, 1), nn.ReLU(),
                              nn.Flatten(), nn.Linear(math.prod(small), latent))  # fmt: skip
        back = nn.Sequential(nn.Linear(latent, math.prod(small)), nn.ReLU(), nn.Unflatten(1, small), nn.Upsample(scale_factor=2),
                             nn.Conv2d(2 * f, f, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(f, c, 3, padding=1), nn.Flatten())  # fmt: skip
        pair = [there, back]
    else:
        return [None, None]
    for branch in pair:
        layers = [layer for layer in branch if hasattr(layer, "weight")]
        for layer in layers:
            nn.init.zeros_(layer.bias)
            if layer is layers[-1]:
                nn.init.zeros_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()))
    return pair


def nearest(rows, codewords):
    return (codewords.square().sum(1) - 2 * rows @ codewords.T).argmin(1)


class Learned(vqbench.Adapter):
    name, version, licence = "pytorch", torch.__version__, "BSD-3-Clause"
    seedable, capabilities, metrics = True, ["encode", "decode"], []

    def __init__(self, params, threads, dim):
        super().__init__(params, threads, dim)
        if params.size and dim not in (None, params.size**2 * params.channels):
            raise vqbench.Wrong("size", f"patches of {params.size} by {params.size} do not have {dim} values")
        symbols = {"fsq": params.groups, "rvqvae": params.stages}.get(params.quantizer, 1)
        alphabet = math.prod(params.levels) if params.quantizer == "fsq" else params.codewords
        self.width = max(1, math.ceil(math.log2(alphabet)))
        self.code_bytes = math.ceil(symbols * self.width / 8)

    def use_threads(self, threads):
        torch.set_num_threads(threads)

    def standardized(self, rows):
        """Channels lead where PyTorch convolves; in vqbench they follow."""
        rows = (torch.from_numpy(rows) - self.mean) / self.scale
        p = self.params
        return rows.view(-1, p.size**2, p.channels).transpose(1, 2).reshape(len(rows), -1) if p.size else rows

    def start(self, x):
        """Principal axes; codewords from all latents."""
        p, dim = self.params, x.shape[1]
        levels = torch.tensor(p.levels * p.groups, dtype=torch.float32)
        latent = len(levels) if p.quantizer == "fsq" else min(dim, 128)
        there, back = branches(p, dim, latent)
        self.encoder, self.decoder = Network(dim, latent, there), Network(latent, dim, back)
        values, axes = torch.linalg.eigh(torch.cov(x.T.double(), correction=0))
        axes = axes.flip(1).float()[:, :latent]
        stretch = 0.9069 / values.flip(0)[:latent].sqrt().float() if p.quantizer == "fsq" else torch.ones(latent)
        encoder, decoder = self.encoder.straight, self.decoder.straight
        encoder.weight.copy_(axes.T * stretch[:, None])
        decoder.weight.copy_(axes / stretch)
        for map in (encoder, decoder):
            map.bias.zero_()
        self.trained = [*self.encoder.parameters(), *self.decoder.parameters()]
        if p.quantizer == "fsq":
            self.half, self.offset = (levels - 1) * 1.001 / 2, (levels % 2 == 0) * 0.5
            self.shift = torch.atanh((self.offset / self.half).clamp(max=1 - 1e-7))
            self.steps = torch.floor(levels / 2)
            encoder.bias.copy_(-self.shift)
            latents, quantized = self.encoder(x), self.quantize(self.encoder(x), 0)[0]
            centred, mean = latents - latents.mean(0), quantized.mean(0)
            gain = (centred * (quantized - mean)).mean(0) / (quantized - mean).square().mean(0).clamp(min=1e-12)
            decoder.bias.copy_(decoder.weight @ (latents.mean(0) - encoder.bias - gain * mean))
            decoder.weight.mul_(gain)
            return
        rest, self.books = self.encoder(x), []
        for _ in range(p.stages if p.quantizer == "rvqvae" else 1):
            book = rest[torch.randperm(len(rest))[: p.codewords]].clone()
            for _ in range(0 if p.quantizer == "vqvae" else 10):
                chosen = nearest(rest, book)
                counts = torch.bincount(chosen, minlength=len(book))
                sums = torch.zeros_like(book).index_add_(0, chosen, rest)
                book = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], book)
            self.books.append(book)
            gaps = rest - book[nearest(rest, book)]
            if p.quantizer == "gumbel":
                scale = 1 / gaps.square().sum(1).mean()
                values = [book.T * (2 * scale), -scale * book.square().sum(1), book]
                self.logits = [nn.Parameter(value.clone()) for value in values]
                self.trained += self.logits
            rest = gaps
        self.counts = [torch.zeros(len(book)) for book in self.books]
        self.sums = [torch.zeros_like(book) for book in self.books]

    def quantize(self, z, progress):
        """Quantized latents, the loss, and the codewords chosen for what each stage sees."""
        p = self.params
        if p.quantizer == "fsq":
            bounded = torch.tanh(z + self.shift) * self.half - self.offset
            return (bounded + (bounded.round() - bounded).detach()) / self.steps, 0, []
        if p.quantizer == "gumbel":
            weights, bias, codewords = self.logits
            temperature = 0.0625 + (1 - 0.0625) * 0.5 * (1 + math.cos(math.pi * progress))
            return F.gumbel_softmax(z @ weights + bias, tau=temperature) @ codewords, 0, []
        rest, loss, seen = z, 0, []
        for book in self.books:
            with torch.no_grad():
                chosen = nearest(rest, book)
            seen.append((rest.detach(), chosen))
            gap = rest - book[chosen]
            loss = loss + gap.square().mean()
            rest = rest - book[chosen]
        return z + (z - rest - z).detach(), 0.25 * loss / len(self.books), seen

    @torch.no_grad()
    def moving_averages(self, step, seen):
        """The averages of each codebook, and codewords used too little put beside others (Jukebox's reset, a tenth of the way to a row)."""
        whole, start = 1 - 0.99**step, 0.99**step
        for s, (rows, chosen) in enumerate(seen):
            book, counts, sums = self.books[s], self.counts[s], self.sums[s]
            counts.mul_(0.99).add_(torch.bincount(chosen, minlength=len(book)), alpha=0.01)
            sums.mul_(0.99).index_add_(0, chosen, rows, alpha=0.01)
            used, total = counts > 0, counts.sum() / whole
            smoothed = (counts / whole + 1e-5) / (total + len(book) * 1e-5) * total
            book = torch.where(used[:, None], sums / whole / smoothed.clamp(min=1e-30)[:, None], book)
            even = len(rows) / len(book)
            use = (counts / 0.01 + start) / (even * (whole / 0.01 + start / even))
            low = torch.nonzero(use < 0.1).flatten()
            picks = torch.randint(len(rows), (len(low),))
            source = chosen[picks]
            keep = use[source] >= 0.2
            low, picks, source = low[keep], picks[keep], source[keep]
            if len(low):
                book[low] = 0.9 * book[source] + 0.1 * rows[picks]
                counts[source] *= 0.5
                sums[source] *= 0.5
                counts[low] = counts[source]
                sums[low] = counts[low][:, None] * book[low]
            self.books[s] = book

    def fit(self, rows, seed, metric):
        p = self.params
        torch.manual_seed(seed % 2**63)
        torch.use_deterministic_algorithms(True)
        self.mean = torch.from_numpy(rows).mean(0)
        self.scale = (torch.from_numpy(rows) - self.mean).square().mean().sqrt().clamp(min=1e-30)
        x = self.standardized(rows)
        with torch.no_grad():
            self.start(x)
        adam = torch.optim.Adam(self.trained, lr=p.learning_rate, betas=(0.9, 0.99))
        steps, step = p.epochs * math.ceil(len(x) / p.batch), 0
        warm = math.ceil(0.05 * steps)
        for _ in range(p.epochs):
            for batch in torch.randperm(len(x)).split(p.batch):
                fall = 0.5 * (1 + math.cos(math.pi * max(step - warm, 0) / max(steps - warm, 1)))
                adam.param_groups[0]["lr"] = p.learning_rate * ((step + 1) / warm if step < warm else 0.01 + 0.99 * fall)
                quantized, loss, seen = self.quantize(self.encoder(x[batch]), step / steps)
                loss = loss + F.mse_loss(self.decoder(quantized), x[batch])
                adam.zero_grad()
                loss.backward()
                adam.step()
                step += 1
                self.moving_averages(step, seen)

    @torch.inference_mode()
    def symbols(self, z):
        p = self.params
        if p.quantizer == "fsq":
            digits = (torch.tanh(z + self.shift) * self.half - self.offset).round() + self.steps
            digits = digits.long().view(len(z), p.groups, -1)
            return (digits * torch.tensor([math.prod(p.levels[:j]) for j in range(len(p.levels))])).sum(2)
        if p.quantizer == "gumbel":
            return (z @ self.logits[0] + self.logits[1]).argmax(1, keepdim=True)
        found = []
        for book in self.books:
            found.append(nearest(z, book))
            z = z - book[found[-1]]
        return torch.stack(found, 1)

    @torch.inference_mode()
    def encode(self, rows):
        codes = []
        for start in range(0, len(rows), 4096):
            symbols = self.symbols(self.encoder(self.standardized(rows[start : start + 4096]))).numpy()
            bits = symbols[:, :, None] >> np.arange(self.width) & 1
            codes.append(np.packbits(bits.reshape(len(symbols), -1).astype("u1"), axis=1))
        return np.concatenate(codes)

    @torch.inference_mode()
    def decode(self, codes):
        p, rows = self.params, []
        for start in range(0, len(codes), 4096):
            part = codes[start : start + 4096]
            count = self.code_bytes * 8 // self.width
            bits = np.unpackbits(part, axis=1, count=count * self.width).reshape(len(part), count, self.width)
            symbols = torch.from_numpy(bits @ (1 << np.arange(self.width)))
            if p.quantizer == "fsq":
                bases = torch.tensor([math.prod(p.levels[:j]) for j in range(len(p.levels))])
                digits = (symbols[:, : p.groups, None] // bases % torch.tensor(p.levels)).reshape(len(part), -1)
                z = (digits - self.steps) / self.steps
            else:
                books = [self.logits[2]] if p.quantizer == "gumbel" else self.books
                z = sum(book[symbols[:, s]] for s, book in enumerate(books))
            x = self.decoder(z)
            if p.size:
                x = x.view(len(x), p.channels, -1).transpose(1, 2).reshape(len(x), -1)
            rows.append((x * self.scale + self.mean).numpy())
        return np.concatenate(rows)


vqbench.serve(Learned, Params)
sys.stdout.flush()
os._exit(0)  # unloading PyTorch takes a second of processor time: on a busy machine more than the 10 s that a program has for its end
