//! The answer in sentences, for the command line and for pages.

use super::choice::Wish;
use super::figure::{FIGURES, Figure, Figures};

/// The limits of a wish and its objective.
pub fn limits(wish: &Wish) -> String {
    let limits: Vec<String> = wish.limits().iter().map(|(figure, limit)| figure.limit(*limit)).collect();
    let word = wish.objective().word();
    let objective = match wish.objective() {
        Figure::Bytes => "the fewest bytes".to_owned(),
        figure if figure.larger_is_better() => format!("the highest {word}"),
        _ => format!("the lowest {word}"),
    };
    format!("{objective} with {}", limits.join(", "))
}

/// What a code reaches, figure by figure, each with its interval.
pub fn reach(figures: &Figures) -> String {
    let one = |figure: Figure| {
        let e = figures.get(figure)?;
        let named = match figure {
            Figure::Bytes => figure.show(e.value),
            _ => format!("{} {}", figure.word(), figure.show(e.value)),
        };
        let bare = |value: f64| figure.show(figure.metric().clip(value));
        Some(if e.low < e.high { format!("{named} ({} to {})", bare(e.low), bare(e.high)) } else { named })
    };
    FIGURES.into_iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

/// The probability that a code is the best of several, as a sentence.
pub fn chance(share: f64, tried: usize) -> String {
    if tried == 1 {
        return "It is the only code tried.".to_owned();
    }
    let percent = match share {
        share if share >= 0.995 => "more than 99%".to_owned(),
        share if share < 0.005 => "less than 1%".to_owned(),
        share => format!("{:.0}%", 100.0 * share),
    };
    format!("It is the best of the {tried} codes tried with a probability of {percent}.")
}

/// What loosening a limit by one step buys: the code that is best then, with its label, if any.
pub fn relaxation(figure: Figure, looser: f64, wish: &Wish, found: Option<(&str, &Figures)>) -> String {
    let looser = figure.limit(looser);
    match found {
        Some((label, figures)) => {
            let objective = wish.objective();
            let told = match figures.value(objective) {
                Some(value) if objective != figure && objective != Figure::Bytes => {
                    format!(", {} {}", objective.word(), objective.show(value))
                }
                _ => String::new(),
            };
            let bytes =
                figures.value(Figure::Bytes).map_or_else(String::new, |b| format!(": {}", Figure::Bytes.show(b)));
            let own = figures
                .value(figure)
                .filter(|_| figure != Figure::Bytes)
                .map_or_else(String::new, |v| format!(", {} {}", figure.word(), figure.show(v)));
            format!("with {looser}: {label}{bytes}{own}{told}")
        }
        None => format!("with {looser}: nothing better among the codes tried"),
    }
}

/// The code that comes nearest to a limit that no code meets together with the others.
pub fn miss(figure: Figure, limit: f64, found: Option<(&str, &Figures)>) -> String {
    let wanted = figure.limit(limit);
    match found.and_then(|(label, figures)| Some((label, figures.value(figure)?))) {
        Some((label, value)) => {
            format!("nearest to {wanted} within the other limits: {label}, {} {}", figure.word(), figure.show(value))
        }
        None => format!("no code is within the limits other than {wanted}"),
    }
}
