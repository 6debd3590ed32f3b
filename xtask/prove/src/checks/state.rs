//! What a quantizer keeps: everything through save and restore, nothing from one training to the next.

use super::Check;
use super::search::same_found;
use crate::case::{fail, skip};
use crate::rows::{Shape, below, errors, mean_and_error};
use crate::subject::{Held, Refusal};
use methods::SearchMetric::{InnerProduct, L2};

/// Saved and restored.
pub const RESTORED: Check = Check {
    group: "state",
    name: "restored",
    question: "Saved, and restored in a process of its own, it gives the same codes and the same decoded rows",
    run: |case| {
        let usual = case.usual(L2)?;
        let model = usual.trained.save()?;
        let again = case.subject.restore(&model, case.dim, L2)?;
        let words = format!("{}, then {}", usual.train.words, usual.rows.words);
        if case.subject.codes() {
            // First of all, before anything else could be made up for.
            if again.decode(usual.codes()?)? != usual.decoded()? {
                return fail(
                    "saved, restored, and decoded codes of before",
                    "the rows of before",
                    "others came",
                    words,
                );
            }
            if &again.encode(usual.rows.view())? != usual.codes()? {
                return fail("saved, restored, and encoded", "the codes of before", "others came", words);
            }
        }
        Ok(format!("a model of {} bytes", model.len()))
    },
};

/// Searches after restoring.
pub const RESTORED_SEARCH: Check = Check {
    group: "state",
    name: "restored search",
    question: "Saved, and restored in a process of its own, it finds the same rows",
    run: |case| {
        let mut by = Vec::new();
        for metric in [L2, InnerProduct] {
            let usual = match case.usual(metric) {
                Ok(usual) => usual,
                Err(Refusal::Missing(_)) => continue,
                Err(other) => return Err(other.into()),
            };
            if matches!(usual.held(), Ok(Held::Rows(_))) && !case.subject.seedable() {
                return skip("its index of rows follows from chance");
            }
            let found = match usual.found() {
                Err(Refusal::Missing(_)) => continue,
                found => found?,
            };
            by.push(super::search::name(metric));
            let again = case.subject.restore(&usual.trained.save()?, case.dim, metric)?;
            let restored = again.search(usual.held()?, usual.queries.view(), crate::case::K)?;
            same_found(usual, found, &restored, "saved, restored, and searched")?;
        }
        if by.is_empty() { skip("it cannot search") } else { Ok(format!("by {}", by.join(" and "))) }
    },
};

/// Trained again.
pub const REFIT: Check = Check {
    group: "state",
    name: "trained again",
    question: "Trained on other rows before, it is as if it had not been",
    run: |case| {
        let usual = case.usual(L2)?;
        // In one process, if its subject allows: other rows, then the usual ones.
        let other = case.draw(Shape::Gaussian, 500, 120);
        let other = &other.rows * 20.0 - 7.0;
        if !case.subject.codes() {
            return skip("it gives no codes to compare");
        }
        for queries in [false, true] {
            let trained = match case.fit(other.view()) {
                Ok(trained) => trained,
                Err(refusal @ Refusal::Error { .. }) => return skip(format!("it refuses 500 other rows: {refusal}")),
                Err(other) => return Err(other.into()),
            };
            let codes = trained.encode(other.view())?;
            if queries {
                match trained.search(Held::Codes(&codes), usual.queries.view(), 3) {
                    Ok(_) | Err(Refusal::Missing(_)) => {}
                    Err(refusal) => return Err(refusal.into()),
                }
            }
            drop(trained);
            let again = case.fit(usual.train.view())?;
            let words = format!("500 rows around -7 of deviation 20, then {}", usual.train.words);
            let codes = again.encode(usual.rows.view())?;
            if case.subject.seedable() && &codes != usual.codes()? {
                let came = "others came";
                return fail("trained on other rows, and then on the usual ones", "the codes of before", came, words);
            }
            let expected = mean_and_error(&errors(&usual.rows, usual.decoded()?)).0;
            let found = mean_and_error(&errors(&usual.rows, &again.decode(&codes)?)).0;
            if !below(found, 1.25 * expected + 1e-12) {
                let (expected, came) = (format!("an error near {expected:.4e} per row"), format!("it is {found:.4e}"));
                return fail("trained on other rows, and then on the usual ones", expected, came, words);
            }
        }
        Ok("nothing is left of the first training".into())
    },
};

/// Trained again with other dimensions.
pub const REFIT_OTHER_DIM: Check = Check {
    group: "state",
    name: "trained again, other dimension",
    question: "Trained on shorter and longer vectors before, it is as if it had not been",
    run: |case| {
        if !case.subject.codes() {
            return skip("it gives no codes to compare");
        }
        let usual = case.usual(L2)?;
        let mut dims = Vec::new();
        for dim in [case.dim / 2, case.dim * 2, case.dim * 3] {
            if dim == 0 || case.subject.accepts(dim).is_err() {
                continue;
            }
            let rows = Shape::Gaussian.draw(700, dim, case.seed_of(121));
            match case.fit(rows.view()) {
                Ok(_) => dims.push(dim.to_string()),
                Err(Refusal::Error { .. }) => continue,
                Err(other) => return Err(other.into()),
            }
            let again = case.fit(usual.train.view())?;
            if case.subject.seedable() && &again.encode(usual.rows.view())? != usual.codes()? {
                return fail(
                    format!("trained on vectors of {dim} components, and then on the usual ones"),
                    "the codes of before",
                    "others came",
                    &usual.train.words,
                );
            }
        }
        if dims.is_empty() {
            skip("it takes no other dimension")
        } else {
            Ok(format!("after {} components", dims.join(", ")))
        }
    },
};

/// Saving is no change.
pub const SAVE_CHANGES_NOTHING: Check = Check {
    group: "state",
    name: "saving changes nothing",
    question: "After saving and searching, codes are those of before",
    run: |case| {
        let usual = case.usual(L2)?;
        if !case.subject.codes() {
            return skip("cannot encode");
        }
        let codes = usual.codes()?.clone();
        let decoded = usual.decoded()?.clone();
        let mut asked = Vec::new();
        match usual.trained.save() {
            Ok(_) => asked.push("saving"),
            Err(Refusal::Missing(_)) => {}
            Err(other) => return Err(other.into()),
        }
        match usual.found() {
            Ok(_) => asked.push("searching"),
            Err(Refusal::Missing(_)) => {}
            Err(other) => return Err(other.into()),
        }
        if asked.is_empty() {
            return skip("cannot save or search");
        }
        if usual.trained.encode(usual.rows.view())? != codes || usual.trained.decode(&codes)? != decoded {
            let did = format!("encoded and decoded after {}", asked.join(" and "));
            return fail(did, "codes and rows of before", "others came", &usual.rows.words);
        }
        Ok(format!("after {}", asked.join(" and ")))
    },
};
