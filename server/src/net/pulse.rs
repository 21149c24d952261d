//! The check that a loop still runs: it is asked, and answers.

use tokio::sync::watch;

/// The side that asks.
#[derive(Debug)]
pub(crate) struct Asker {
    question: watch::Sender<u64>,
    answers: watch::Receiver<u64>,
}

/// The side of the loop.
#[derive(Debug)]
pub(crate) struct Answerer {
    questions: watch::Receiver<u64>,
    answer: watch::Sender<u64>,
}

/// Returns both sides.
pub(crate) fn pulse() -> (Asker, Answerer) {
    let (question, questions) = watch::channel(0);
    let (answer, answers) = watch::channel(0);
    (Asker { question, answers }, Answerer { questions, answer })
}

impl Asker {
    /// Asks, and waits for the answer. Returns false if the loop has ended.
    ///
    /// # Cancel safety
    /// Cancel safe: an answer that comes too late counts for no later question.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let mut number = 0;
        self.question.send_modify(|last| {
            *last += 1;
            number = *last;
        });
        self.answers.wait_for(|&answer| answer == number).await.is_ok()
    }
}

impl Answerer {
    /// Waits for a question, and answers it. Waits for ever once nobody asks any more.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn answer(&mut self) {
        if self.questions.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let number = *self.questions.borrow_and_update();
        self.answer.send_replace(number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_runs_answers_and_one_that_has_ended_does_not() {
        let (mut asker, mut answerer) = pulse();
        for _ in 0..3 {
            assert!(tokio::join!(asker.is_alive(), answerer.answer()).0);
        }
        let late = Duration::from_secs(60);
        assert!(timeout(late, asker.is_alive()).await.is_err());
        // The answer to what was asked before says nothing about now.
        answerer.answer().await;
        assert!(timeout(late, asker.is_alive()).await.is_err());
        drop(answerer);
        assert!(!asker.is_alive().await);
    }
}
