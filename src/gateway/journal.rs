//! What was done while a reload is prepared, so that it can be undone.

use std::fmt;

/// Steps that were done, each with what undoes it. Dropping it undoes them, the last first, unless it was kept.
#[derive(Default)]
pub(super) struct Journal(Vec<(String, Undo)>);

type Undo = Box<dyn FnOnce() -> Result<(), String>>;

impl Journal {
    /// A step was done.
    pub(super) fn done<E: fmt::Display>(
        &mut self,
        step: impl Into<String>,
        undo: impl FnOnce() -> Result<(), E> + 'static,
    ) {
        self.0.push((step.into(), Box::new(move || undo().map_err(|error| error.to_string()))));
    }

    /// All is well: nothing is undone.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        for (step, undo) in self.0.drain(..).rev() {
            if let Err(error) = undo() {
                tracing::error!("cannot undo: {step}: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    fn with(undone: &Rc<RefCell<Vec<u8>>>) -> Journal {
        let mut journal = Journal::default();
        for step in 1..=3 {
            let undone = undone.clone();
            journal.done("step", move || {
                undone.borrow_mut().push(step);
                if step == 2 { Err("no") } else { Ok(()) }
            });
        }
        journal
    }

    #[test]
    fn the_last_step_is_undone_first_and_one_that_fails_stops_nothing() {
        let undone = Rc::default();
        drop(with(&undone));
        assert_eq!(*undone.borrow(), [3, 2, 1]);
    }

    #[test]
    fn what_is_kept_is_not_undone() {
        let undone = Rc::default();
        with(&undone).keep();
        assert!(undone.borrow().is_empty());
    }
}
