//! The targets themselves: each has input to start from, which it accepts, and mutations are the same in every run.

use super::*;

#[test]
fn every_target_accepts_what_it_starts_from() {
    let room = Room::new().expect("a folder");
    let mut names = Vec::new();
    for target in targets() {
        let seeds = target.seeds();
        assert!(
            !seeds.is_empty() && seeds.iter().all(|seed| !seed.is_empty()),
            "{} starts from nothing: add real input to seeds.rs",
            target.name
        );
        for seed in seeds {
            assert_eq!(attempt(&target, &room, &seed), Ok(()), "{}", target.name);
        }
        assert!(!names.contains(&target.name), "two targets {}", target.name);
        names.push(target.name);
    }
}

#[test]
fn mutations_are_the_same_in_every_run_and_differ_from_each_other() {
    let seeds = vec![b"name: 12\nlist: [1, 2]\n".to_vec(), vec![0; 100]];
    let all: Vec<Vec<u8>> = (0..500).map(|case| mutated(&seeds, 7, case)).collect();
    assert!((0..500).all(|case| mutated(&seeds, 7, case) == all[case as usize]));
    let distinct: std::collections::HashSet<&Vec<u8>> = all.iter().collect();
    assert!(distinct.len() > 300, "{}", distinct.len());
    assert!(all.iter().all(|input| input.len() <= 1 << 16));
    assert_eq!(mutated(&[], 1, 1).len(), mutated(&[], 1, 1).len(), "nothing to start from");
}

#[test]
fn what_goes_wrong_is_told_with_its_case() {
    let room = Room::new().expect("a folder");
    let failing = |check| Target::of("failing", || vec![b"seed".to_vec()], check);
    let panics = failing(|_, input| if input.len() > 4 { panic!("too long: {}", input.len()) } else { Ok(()) });
    let mut begun = Vec::new();
    let found = run(&panics, &room, 1, 0..1000, |case| begun.push(case)).expect("some mutation is longer");
    assert!(found.reason.starts_with("it panics: too long"), "{found:?}");
    assert_eq!(begun.last(), Some(&found.case));
    let input = mutated(&panics.seeds(), 1, found.case);
    assert_eq!(attempt(&panics, &room, &input), Err(found.reason), "the same again");
    let wrong = failing(|_, _| Err("wrong".to_owned()));
    assert_eq!(run(&wrong, &room, 1, 5..9, |_| {}), Some(Finding { case: 5, reason: "wrong".to_owned() }));
}
