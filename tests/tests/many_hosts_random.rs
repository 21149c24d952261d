//! A share of the soak `fleet-random`: runs over sets that end in every way, and are taken up again.

use rcmd_tests::soak::fleet::random;

#[test]
fn at_random_moments_too_nothing_runs_twice_and_every_host_has_its_end() {
    let figures = random::run(10, 7_000);
    assert!(figures.wrong.is_empty(), "{figures}");
    assert_eq!((figures.runs, figures.fates.values().sum::<u64>()), (10, 10), "{figures}");
    assert!(figures.resumes > 0 && figures.whole > 0 && figures.starts > 0, "{figures}");
}
