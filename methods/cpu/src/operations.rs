//! Wrappers of intrinsics that work on registers alone, one to a function, so that what is unsafe about them is said in one place.

/// Functions of registers, each of which is one intrinsic. Only a module that is entered with an [`Isa`](crate::Isa) of the intrinsics' set
/// may use it.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $result:ty = $intrinsic:ident;)*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub(crate) fn $name($($argument: $kind),*) -> $result {
                // SAFETY: the instruction set is present, see the module that this is in; no memory is touched.
                unsafe { $intrinsic($($argument),*) }
            }
        )*
    };
}
