//! `plan/state.rs`: a state that is read is written, and reads back; every text for people can be made of it; and what
//! becomes of it at a soft reboot ends, and reads back too.

use nextroot::plan::state::{Pass, State};

pub(super) fn run(data: &[u8]) {
    let Ok(state) = serde_json::from_slice::<State>(data) else { return };
    same(&state);
    let roots = [state.current.as_ref(), state.previous.as_ref(), state.staged.as_ref().map(|s| &s.root)];
    for root in roots.into_iter().flatten() {
        assert!(root.is(root) && !root.to_string().is_empty());
    }
    assert!(state.unused().len() <= state.retired.len());
    let _ = state.staged.as_ref().map(|staged| (staged.begun.to_string(), staged.has_opened()));
    let _ = state.looking.to_string();
    for switched in [true, false] {
        let pass = Pass { switched, begun_us: None, took_us: 1, error: None, blames_image: !switched };
        let after = state.clone().handed_over(pass);
        assert!(after.staged.is_none());
        same(&after);
    }
    let mut settled = state.clone();
    settled.settle(state.staged.map(|staged| staged.root), false, 9);
    same(&settled);
}

fn same(state: &State) {
    let text = serde_json::to_string(state).unwrap();
    assert_eq!(&serde_json::from_str::<State>(&text).unwrap(), state);
}
