use super::*;

/// Do a thing or two. Of the rest of this the list of commands says nothing, but the command's own help says it, in lines that fit.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(example = "thing do it")]
#[argh(note = "WHAT is done:\none line\nand another.")]
#[argh(note = "More:\nelsewhere")]
struct Thing {
    /// show the version
    #[argh(switch, short = 'V')]
    version: bool,
    #[argh(subcommand)]
    command: Option<Kind>,
}

#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand)]
enum Kind {
    Do(Do),
    Redo(Redo),
    Own(Own),
}

/// Do it. Once.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "do")]
#[argh(error_code(0, "done"))]
#[argh(error_code(1, "not done"))]
struct Do {
    /// what is done
    #[argh(positional, arg_name = "WHAT")]
    what: String,
    /// how often
    #[argh(option, short = 'n', arg_name = "TIMES")]
    number: Option<u32>,
    /// with whom, which is a long story; may be given again, and then it is longer
    #[argh(option, arg_name = "SOMEBODY")]
    with_somebody: Vec<String>,
    /// twice
    #[argh(switch)]
    twice: bool,
    /// which of them
    #[argh(option, short = 'h', arg_name = "HASH")]
    hash: Option<String>,
}

/// Do it again
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "redo")]
struct Redo {}

/// Internal: Do it for ourselves.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "own")]
struct Own {}

fn typed(words: &[&str]) -> Result<Thing, Early> {
    read(["/usr/bin/thing"].iter().chain(words).map(OsString::from))
}

#[test]
fn words_are_read() {
    let of = |number, twice| Do { what: "it".into(), number, with_somebody: Vec::new(), twice, hash: None };
    for (words, expected) in [
        (&["do", "it", "--number", "3"][..], of(Some(3), false)),
        (&["do", "it", "--number=3"], of(Some(3), false)),
        (&["do", "-n", "3", "--twice", "it"], of(Some(3), true)),
        (&["do", "--", "it"], of(None, false)),
        (&["do", "--", "--a=b"], Do { what: "--a=b".into(), ..of(None, false) }),
        (&["do", "--with-somebody=a=b", "it"], Do { with_somebody: vec!["a=b".into()], ..of(None, false) }),
        (
            &["do", "-n", "3", "--with-somebody", "--twice=1", "it"],
            Do { with_somebody: vec!["--twice=1".into()], ..of(Some(3), false) },
        ),
        (&["do", "it", "-h", "-h"], Do { hash: Some("-h".into()), ..of(None, false) }),
        (&["do", "a=b"], Do { what: "a=b".into(), ..of(None, false) }),
        (&["do", "it", "--hash", "-V"], Do { hash: Some("-V".into()), ..of(None, false) }),
        (&["do", "--", "--version"], Do { what: "--version".into(), ..of(None, false) }),
    ] {
        let expected = Thing { version: false, command: Some(Kind::Do(expected)) };
        assert_eq!(typed(words), Ok(expected), "{words:?}");
    }
}

#[test]
fn a_command_has_the_version_of_its_program() {
    for words in [
        &["--version"][..],
        &["-V"],
        &["do", "--version"],
        &["redo", "-V"],
        &["do", "it", "--twice", "--version"],
    ] {
        assert_eq!(typed(words), Ok(Thing { version: true, command: None }), "{words:?}");
    }
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    for (words, expected) in [
        (
            &["doo"][..],
            "thing: there is no command doo: did you mean do?\n  thing --help tells what there is",
        ),
        (&["of"], "thing: there is no command of\n  thing --help tells what there is"),
        (&["elsewhere"], "thing: there is no command elsewhere\n  thing --help tells what there is"),
        (
            &["--twice", "do"],
            "thing: there is no option --twice here: options of a command stand behind it\n  thing --help tells what there is",
        ),
        (
            &["do", "--twcie"],
            "thing do: there is no option --twcie: did you mean --twice?\n  thing do --help tells what there is",
        ),
        (&["do", "--twice=1", "it"], "thing do: --twice takes no value: leave out what stands behind it"),
        (
            &["do", "--hepl"],
            "thing do: there is no option --hepl: did you mean --help?\n  thing do --help tells what there is",
        ),
        (
            &["soft-redo"],
            "thing: there is no command soft-redo: did you mean redo?\n  thing --help tells what there is",
        ),
        (&["owm"], "thing: there is no command owm\n  thing --help tells what there is"),
        (
            &["do", "it", "again"],
            "thing do: one argument too many: again\n  thing do --help tells what there is",
        ),
        (
            &["redo", "it"],
            "thing redo: it takes options only: it is none\n  thing redo --help tells what there is",
        ),
        (
            &["do"],
            "thing do: Required positional arguments not provided: WHAT\n  thing do --help tells what there is",
        ),
        (
            &["do", "--number"],
            "thing do: No value provided for option '--number'\n  thing do --help tells what there is",
        ),
    ] {
        assert_eq!(typed(words), Err(Early::Wrong(expected.to_owned())), "{words:?}");
    }
}

#[test]
fn help_fits_and_tells_all() {
    let top = "\
Usage: thing [--version] COMMAND ...

Do a thing or two. Of the rest of this the list of commands says nothing, but
the command's own help says it, in lines that fit.

Options:
  -V, --version      show the version
  -h, --help         show this

Commands:
  do                 Do it
  redo               Do it again

Commands that only units run:
  own                Do it for ourselves

Examples:
  thing do it

WHAT is done:
  one line
  and another.

More:
  elsewhere";
    let of_do = "\
Usage: thing do [--number TIMES] [--with-somebody SOMEBODY]... [--twice]
    [--hash HASH] WHAT

Do it. Once.

Arguments:
  WHAT               what is done

Options:
  -n, --number TIMES how often
  --with-somebody SOMEBODY
                     with whom, which is a long story; may be given again, and
                     then it is longer
  --twice            twice
  -h, --hash HASH    which of them
  --help             show this

Exit codes:
  0  done
  1  not done";
    for (words, expected) in [
        (&["--help"][..], top),
        (&["-h"], top),
        (&["do", "--help"], of_do),
        (&["do", "--twice", "-h"], of_do),
        (&["help", "do"], of_do),
    ] {
        assert_eq!(typed(words), Err(Early::Help(expected.to_owned())), "{words:?}");
    }
}
