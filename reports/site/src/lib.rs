//! Results that others can check: a run becomes a submission, a random sample of it runs again, and many submissions
//! become a static site.

mod folder;
mod manifest;
mod pages;
mod publish;
mod readme;
mod sample;
mod verification;

pub use folder::{Submission, SubmissionError};
pub use manifest::{MANIFEST, Manifest, SUBMISSION_SCHEMA, date_of, is_submission_id};
pub use pages::{Site, render};
pub use publish::{PATH_KEYS, PublishError, Submitter, publish};
pub use sample::{FALSIFIED, chance, sample, share_of, unpredictable_seed};
pub use verification::{TrialVerdict, UNNAMED, VERIFICATION, Verification, VerifiedTrial};
