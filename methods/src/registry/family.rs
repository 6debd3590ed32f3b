//! The families of methods: what kind of quantizer each of them is. Reports filter by them.

/// The kind of quantizer that a method is. A method that two would describe belongs to the later one: a scalar quantizer
/// of learned latents is [`Family::Learned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// One component at a time, to one of a few levels.
    Scalar,
    /// One bit per component.
    Binary,
    /// One codebook for whole vectors.
    Vector,
    /// One codebook per group of components.
    Product,
    /// Sums of codewords.
    Additive,
    /// Points of a lattice.
    Lattice,
    /// A random rotation, then a grid that nobody trained.
    Rotated,
    /// An encoder, a quantizer and a decoder, trained together.
    Learned,
    /// Whatever an outside program does.
    Outside,
}

impl Family {
    /// All of them, in the order of listings.
    pub const ALL: [Family; 9] = [
        Family::Scalar,
        Family::Binary,
        Family::Vector,
        Family::Product,
        Family::Additive,
        Family::Lattice,
        Family::Rotated,
        Family::Learned,
        Family::Outside,
    ];

    /// Its name in listings, records and reports.
    pub fn name(self) -> &'static str {
        match self {
            Family::Scalar => "scalar",
            Family::Binary => "binary",
            Family::Vector => "vector",
            Family::Product => "product",
            Family::Additive => "additive",
            Family::Lattice => "lattice",
            Family::Rotated => "rotated",
            Family::Learned => "learned",
            Family::Outside => "outside",
        }
    }

    /// What its methods do, in one line.
    pub fn meaning(self) -> &'static str {
        match self {
            Family::Scalar => "rounds each component by itself to one of a few levels",
            Family::Binary => "stores one bit per component",
            Family::Vector => "has one codebook for whole vectors",
            Family::Product => "splits vectors into groups of components, each with its own codebook",
            Family::Additive => "codes a vector as a sum of codewords, one from each codebook",
            Family::Lattice => "rounds several components together to a point of a fixed lattice",
            Family::Rotated => "rotates vectors at random, so that fixed levels fit every component without training",
            Family::Learned => "trains a quantizer together with an encoder and a decoder, by gradients",
            Family::Outside => "is computed by another program, which answers requests (docs/adapters.md)",
        }
    }
}
