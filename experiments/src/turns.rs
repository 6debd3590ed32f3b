//! Turns, seen from the run: hands the turn back and forth between the two processes of a pair.
//!
//! A side that works has the turn or has not asked for it yet. While one does, the other waits. When both wait, the side
//! whose step comes first gets the turn. At the same step the order alternates: ours and theirs, then theirs and ours. A side
//! that has ended does not count any more.

use crate::in_turn::Step;
use record::{MOST_TURNS, Side, Turn};
use std::io::Write;
use std::process::ChildStdin;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the run says to a process that gets the turn.
const YOURS: &[u8] = b"turn\n";

/// What a side does.
enum Activity {
    /// It starts or computes.
    Works,
    Waits {
        step: Step,
        since: Instant,
    },
    Ended,
}

struct SideState<W> {
    /// Where its process reads that it has the turn.
    input: Option<W>,
    activity: Activity,
    /// Time that it has waited, without the time that it waits now.
    waited: Duration,
    turns: Vec<Turn>,
}

struct Table<W> {
    sides: [SideState<W>; 2],
    /// Index of the side that is first when both are at the same step.
    first: usize,
    /// Number of turns so far.
    count: usize,
}

/// The turns of a pair of processes.
pub(crate) struct TurnTable<W = ChildStdin> {
    table: Mutex<Table<W>>,
}

/// The place of a process among the two of its pair.
pub(crate) struct Seat<'a, W: Write = ChildStdin> {
    turns: &'a TurnTable<W>,
    side: Side,
}

impl<W: Write> TurnTable<W> {
    /// Two sides that are about to start.
    pub(crate) fn new() -> TurnTable<W> {
        let side = || SideState { input: None, activity: Activity::Works, waited: Duration::ZERO, turns: Vec::new() };
        TurnTable { table: Mutex::new(Table { sides: [side(), side()], first: 0, count: 0 }) }
    }

    /// The place of one side. The side has ended when it is dropped.
    pub(crate) fn seat(&self, side: Side) -> Seat<'_, W> {
        Seat { turns: self, side }
    }

    /// The turns that a side had.
    pub(crate) fn had(&self, side: Side) -> Vec<Turn> {
        self.lock().sides[side as usize].turns.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Table<W>> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<W: Write> Seat<'_, W> {
    /// Where the process of this side reads that it has the turn.
    pub(crate) fn connect(&self, input: W) {
        self.turns.lock().sides[self.side as usize].input = Some(input);
    }

    /// This side asks for the turn, and gives it back if it had it.
    pub(crate) fn ask(&self, step: Step) {
        let mut table = self.turns.lock();
        let side = &mut table.sides[self.side as usize];
        if let Activity::Works = side.activity {
            side.activity = Activity::Waits { step, since: Instant::now() };
            table.pass_on();
        }
    }

    /// How long this side has waited for turns.
    pub(crate) fn waited(&self) -> Duration {
        let table = self.turns.lock();
        let side = &table.sides[self.side as usize];
        match &side.activity {
            Activity::Waits { since, .. } => side.waited + since.elapsed(),
            _ => side.waited,
        }
    }
}

impl<W: Write> Drop for Seat<'_, W> {
    fn drop(&mut self) {
        let mut table = self.turns.lock();
        let side = &mut table.sides[self.side as usize];
        (side.activity, side.input) = (Activity::Ended, None);
        table.pass_on();
    }
}

impl<W: Write> Table<W> {
    /// Gives the turn to a side that waits for it, if the other one neither computes nor starts.
    fn pass_on(&mut self) {
        let [ours, theirs] = &self.sides;
        let next = match (&ours.activity, &theirs.activity) {
            (Activity::Works, _) | (_, Activity::Works) | (Activity::Ended, Activity::Ended) => return,
            (Activity::Waits { .. }, Activity::Ended) => 0,
            (Activity::Ended, Activity::Waits { .. }) => 1,
            (Activity::Waits { step: ours, .. }, Activity::Waits { step: theirs, .. }) => {
                match ours.at.cmp(&theirs.at) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Greater => 1,
                    std::cmp::Ordering::Equal => {
                        self.first = 1 - self.first;
                        1 - self.first
                    }
                }
            }
        };
        let (number, side) = (self.count, &mut self.sides[next]);
        self.count += 1;
        let Activity::Waits { step, since } = std::mem::replace(&mut side.activity, Activity::Works) else { return };
        side.waited += since.elapsed();
        if side.turns.len() < MOST_TURNS {
            side.turns.push(Turn { step: step.name.chars().take(100).collect(), number });
        }
        // If the process has died, the thread that reads its output ends this side.
        let _ = side.input.as_mut().map(|input| input.write_all(YOURS).and_then(|()| input.flush()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has got the turn, in order.
    #[derive(Clone, Default)]
    struct Told(std::sync::Arc<Mutex<String>>);

    struct Ear(Told, char);

    impl Write for Ear {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            if text == YOURS {
                self.0.0.lock().expect("not poisoned").push(self.1);
            }
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn step(at: [u32; 3]) -> Step {
        Step { at, name: format!("{at:?}") }
    }

    #[test]
    fn the_order_alternates_from_step_to_step_and_a_step_of_one_side_shifts_nothing() {
        let (told, table) = (Told::default(), TurnTable::new());
        let (ours, theirs) = (table.seat(Side::Ours), table.seat(Side::Theirs));
        ours.connect(Ear(told.clone(), 'o'));
        theirs.connect(Ear(told.clone(), 't'));
        let heard = || std::mem::take(&mut *told.0.lock().expect("not poisoned"));
        ours.ask(step([0, 0, 0]));
        assert_eq!(heard(), "", "the other side has not asked yet");
        theirs.ask(step([0, 0, 0]));
        assert_eq!(heard(), "o");
        // Theirs has no decoder: timing 2 of phase 5 is missing.
        ours.ask(step([5, 1, 0]));
        assert_eq!(heard(), "t");
        theirs.ask(step([5, 1, 0]));
        assert_eq!(heard(), "t", "now theirs is first");
        theirs.ask(step([5, 3, 0]));
        assert_eq!(heard(), "o");
        for repeat in 0..2 {
            ours.ask(step([5, 2, repeat]));
            assert_eq!(heard(), "o", "theirs is further");
        }
        ours.ask(step([5, 3, 0]));
        assert_eq!(heard(), "o", "the same step again");
        ours.ask(step([6, 0, 0]));
        assert_eq!(heard(), "t");
        drop(ours);
        assert_eq!(heard(), "");
        theirs.ask(step([7, 0, 0]));
        assert_eq!(heard(), "t", "the other side has ended");
        assert_eq!(table.had(Side::Ours).iter().map(|turn| turn.number).collect::<Vec<_>>(), [0, 3, 4, 5, 6]);
        assert_eq!(table.had(Side::Theirs)[0], Turn { step: "[0, 0, 0]".into(), number: 1 });
    }

    #[test]
    fn a_side_that_ends_without_a_word_blocks_nobody() {
        let (told, table) = (Told::default(), TurnTable::new());
        let (ours, theirs) = (table.seat(Side::Ours), table.seat(Side::Theirs));
        ours.connect(Ear(told.clone(), 'o'));
        ours.ask(step([0, 0, 0]));
        std::thread::sleep(Duration::from_millis(2));
        assert!(ours.waited() >= Duration::from_millis(2) && theirs.waited() == Duration::ZERO);
        drop(theirs);
        assert_eq!(*told.0.lock().expect("not poisoned"), "o");
        let waited = ours.waited();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(ours.waited(), waited, "it computes");
    }
}
