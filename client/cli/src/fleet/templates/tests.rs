use rcmd_client::inventory::{Inventory, parse_hosts_toml};

use super::*;

const HOSTS: &str = "
[hosts.a1]
labels = { role = 'web', odd = '{host}', 'app/name' = 'shop', none = '' }
vars = { id = 0x1F, blank = 'a b', list = [1, 2], nul = \"x\\u0000y\", text = 'z;reboot' }
[hosts.a2]
labels = { role = 'db' }
vars = { blank = '$(id)' }
[hosts.a3]
";

/// Returns the hosts a1 to a3 of the file above.
fn targets() -> Vec<HostTarget> {
    let mut inventory = Inventory::default();
    inventory.add(parse_hosts_toml(HOSTS.as_bytes(), "hosts.toml".as_ref()).unwrap());
    let set: HostSet = ["a1", "a2", "a3"].into_iter().map(Into::into).collect();
    set.targets(&inventory).unwrap()
}

fn exec(words: &[&str]) -> CommandSpec {
    let (program, arguments) = words.split_first().unwrap();
    let arguments = arguments.iter().map(OsString::from).collect();
    CommandSpec::Exec { program: program.into(), arguments }
}

fn shell(line: &str) -> CommandSpec {
    CommandSpec::Shell(line.into())
}

fn of(command: &CommandSpec) -> Templates {
    Templates::read(command, &[], None, true)
}

/// Returns the one argument as it reaches the host.
fn argument(text: &str, target: &HostTarget) -> String {
    match of(&exec(&["x", text])).fill(target).unwrap().command {
        CommandSpec::Exec { arguments, .. } => arguments[0].to_str().unwrap().to_owned(),
        CommandSpec::Shell(_) => panic!("a program became a line"),
    }
}

#[test]
fn the_four_names_are_replaced_and_nothing_else_is() {
    let targets = targets();
    for (text, filled) in [
        ("{host}", "a1"),
        ("{index}", "0"),
        ("{label.role}", "web"),
        ("{label.app/name}", "shop"),
        ("{var.id}", "0x1F"),
        ("<{host}{index}>{host}", "<a10>a1"),
        ("{\"n\":{index}}", "{\"n\":0}"),
        ("{a{host}", "{aa1"),
        // The braces of others.
        ("{{host}}", "{{host}}"),
        ("{{{host}}}", "{{{host}}}"),
        ("{{.ID}}", "{{.ID}}"),
        ("${host}", "${host}"),
        ("${{host}}", "${{host}}"),
        ("{host }", "{host }"),
        ("{ host}", "{ host}"),
        ("{Host}", "{Host}"),
        ("{label.x", "{label.x"),
        ("{label.}", "{label.}"),
        ("{label}", "{label}"),
        ("{var.a b}", "{var.a b}"),
        ("{}", "{}"),
        ("{", "{"),
        ("}", "}"),
        ("", ""),
    ] {
        assert_eq!(argument(text, &targets[0]), filled, "{text}");
    }
    assert_eq!(argument("{host} {index} {label.role}", &targets[1]), "a2 1 db");
}

#[test]
fn a_value_is_not_looked_at_again() {
    let targets = targets();
    assert_eq!(argument("{label.odd}", &targets[0]), "{host}");
    assert_eq!(argument("{{label.odd}", &targets[0]), "{{label.odd}");
    // What stands before a place is what was typed, not what was put there.
    assert_eq!(argument("$x{host}", &targets[0]), "$xa1");
}

#[test]
fn environment_folder_program_and_line_are_filled_and_bytes_stay_bytes() {
    let targets = targets();
    let odd = OsString::from_vec(b"\xff{host}\xfe".to_vec());
    let env = [("{host}".into(), odd)];
    let command = exec(&["/opt/{label.role}/run"]);
    let templates = Templates::read(&command, &env, Some("/srv/{host}".as_ref()), true);
    let filled = templates.fill(&targets[0]).unwrap();
    assert_eq!(filled.command, exec(&["/opt/web/run"]));
    assert_eq!(filled.env, [("{host}".into(), OsString::from_vec(b"\xffa1\xfe".to_vec()))]);
    assert_eq!(filled.cwd, Some("/srv/a1".into()));
    assert_eq!(templates.used(), ["{label.role}", "{host}"]);
    let line = of(&shell("echo '{host}'")).fill(&targets[2]).unwrap();
    assert_eq!(line.command, shell("echo 'a3'"));
}

#[test]
fn without_templates_every_brace_stays() {
    let targets = targets();
    let command = shell("echo {host} {var.none}");
    let templates = Templates::read(&command, &[], None, false);
    assert_eq!(templates.fill(&targets[0]).unwrap().command, command);
    assert_eq!((templates.used(), templates.check(&targets)), (Vec::new(), Ok(())));
}

#[test]
fn each_template_is_named_once_in_the_order_of_the_command() {
    let command = exec(&["x", "{var.b}{host}", "{host}", "{var.a}", "{var.b}"]);
    assert_eq!(of(&command).used(), ["{var.b}", "{host}", "{var.a}"]);
    assert_eq!(of(&command).variables().collect::<Vec<_>>(), ["b", "a", "b"]);
}

/// Returns the lines that are told of hosts for which the command can't be made.
fn refused(command: &CommandSpec) -> Vec<String> {
    let unfilled = of(command).check(&targets()).unwrap_err();
    assert_eq!(unfilled.failure.kind, ErrorKind::Usage);
    assert!(unfilled.failure.hint.is_some());
    unfilled.lines
}

#[test]
fn a_shell_line_takes_no_value_that_a_shell_would_read() {
    let lines = refused(&shell("echo {var.blank}"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("a[1-2]: a shell line takes letters"), "{lines:?}");
    assert!(lines[0].ends_with("{var.blank} has something else; a1 has `a b`"), "{lines:?}");
    assert_eq!(lines[1], "a3: there is no variable for {var.blank}");
    // As an argument it is a value like any other.
    assert_eq!(argument("{var.blank}", &targets()[1]), "$(id)");
    let one = of(&shell("rm -r /srv/{label.none}")).check(&targets()[..1]).unwrap_err();
    assert!(one.lines[0].contains("{label.none} is empty"), "{one:?}");
    let one = of(&shell("echo {var.text}")).check(&targets()[..1]).unwrap_err();
    assert!(one.lines[0].ends_with("something else: `z;reboot`"), "{one:?}");
    assert!(of(&shell("echo {label.role}-{index}")).check(&targets()[..2]).is_ok());
}

#[test]
fn each_byte_that_is_not_plain_is_refused_in_a_shell_line() {
    for byte in 0..=127_u8 {
        let plain = byte.is_ascii_alphanumeric() || "._:/@%+=,-".contains(char::from(byte));
        let value = format!("a{}b", char::from(byte));
        assert_eq!(check_for_shell(&Place::Host, &value).is_ok(), plain, "{value:?}");
    }
    assert!(check_for_shell(&Place::Host, "zoë").is_err());
}

#[test]
fn what_a_host_lacks_is_told_by_host_before_anything_runs() {
    assert_eq!(
        refused(&exec(&["x", "{label.role}", "{var.id}"])),
        ["a2: there is no variable for {var.id}", "a3: there is no label for {label.role}"]
    );
    let lines = refused(&exec(&["x", "{var.list}"]));
    assert!(lines[0].starts_with("a1: {var.list} is a list or a table, and only text"));
    assert_eq!(lines[1], "a[2-3]: there is no variable for {var.list}");
    let failure = of(&exec(&["x", "{label.role}"])).fill(&targets()[2]).unwrap_err();
    assert_eq!(failure.message, "a3: there is no label for {label.role}");
}

#[test]
fn what_no_request_can_hold_is_found_before_anything_runs() {
    assert!(refused(&exec(&["x", "{var.nul}"]))[0].starts_with("a1: an argument holds a NUL"));
    let cwd = Templates::read(&exec(&["x"]), &[], Some("{label.none}".as_ref()), true);
    assert_eq!(cwd.check(&targets()[..1]).unwrap_err().lines, ["a1: --cwd is empty"]);
    // Without a template it is no host's own fault.
    let long = "x".repeat(rcmd_protocol::limits::STRING);
    let lines = refused(&exec(&["x", &long]));
    assert!(lines.len() == 1 && lines[0].contains("past the limit"), "{lines:?}");
}

#[test]
fn no_text_costs_more_than_its_length() {
    let many = "{ ".repeat(60_000);
    assert_eq!(argument(&many, &targets()[0]), many);
    let long = format!("{{label.{}}}", "x".repeat(LONGEST));
    assert_eq!(argument(&long, &targets()[0]), long);
}
