//! The policy under requests of any bytes: it permits exactly what a simple model of its rules permits.
//!
//! `server/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use rcmd_protocol::{frame::Mode, request::Request};
use rcmd_server::{
    policy::{DenialKind, Host, HostFacts, RequestContext, Rules, Vocabulary, authorize},
    process::{Program, Uid},
    trust::{Principal, Way},
};

const TEXT: &str = r#"
@id("exact") @env("K=v*")
permit (principal in Group::"a", action == Action::"run", resource)
when { context.program == "/bin/x" && context.argv == ["0=x", "1=on"] };

@id("pattern")
permit (principal in Group::"b", action == Action::"run", resource)
when {
  context.text && context.argc == 2 && context.args has "1" &&
  context.args["1"] like "w*" && !(context.args["1"] like "*/*")
};

@id("line")
permit (principal in Group::"c", action == Action::"shell", resource)
when { context.line == "up" };

@id("hours")
permit (principal in Group::"d", action == Action::"run", resource)
when {
  context.source.isInRange(ip("10.0.0.0/8")) &&
  context.time.toTime() >= duration("8h") && context.time.toTime() < duration("18h")
};

@id("not-no")
forbid (principal, action == Action::"run", resource)
when { context.args has "3" && context.args["3"] == "no" };

@id("not-there")
forbid (principal, action in [Action::"run", Action::"shell"], resource)
when { context.cwd == "/f" };
"#;

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let host = Host { name: "h".into(), labels: Vec::new() };
    Rules::parse(TEXT, host, Vocabulary::One).unwrap_or_else(|flaws| panic!("{}", flaws[0]))
});

/// A request as the input encodes it: four bytes, then strings with a NUL between them.
struct Case {
    groups: [bool; 4],
    from_ten: bool,
    hour: u64,
    request: Request,
    found: HostFacts,
}

impl Case {
    fn read(data: &[u8]) -> Option<Self> {
        let [groups, flags, hour, settings, strings @ ..] = data else { return None };
        let mut strings = strings.split(|&byte| byte == 0);
        let program = PathBuf::from(OsStr::from_bytes(strings.next()?));
        let cwd = PathBuf::from(OsStr::from_bytes(strings.next()?));
        let names: [&[u8]; 4] = [b"K=", b"LANG=", b"FOO=", b"LD_PRELOAD="];
        let env = strings.by_ref().take(usize::from(settings % 4));
        let env: Vec<_> = env.enumerate().map(|(n, value)| [names[n], value].concat()).collect();
        let mode = if flags & 1 == 0 { Mode::Exec } else { Mode::Shell };
        let args = strings.map(<[u8]>::to_vec);
        let request = Request::builder(mode, args).envs(env).build().ok()?;
        Some(Self {
            groups: [0, 1, 2, 3].map(|bit| groups >> bit & 1 == 1),
            from_ten: flags & 2 == 0,
            hour: u64::from(hour % 24),
            request,
            found: HostFacts {
                account: "root".into(),
                uid: Uid::ROOT,
                cwd,
                program: Program { path: program, writable: None, digest: None },
            },
        })
    }

    fn who(&self) -> Principal {
        let names = ["a", "b", "c", "d"].iter().zip(self.groups).filter(|(_, is_in)| *is_in);
        Principal { user: "u".into(), groups: names.map(|(name, _)| (*name).to_owned()).collect() }
    }

    fn moment(&self) -> RequestContext {
        let source = Ipv4Addr::new(if self.from_ten { 10 } else { 11 }, 0, 0, 1);
        let time = Duration::from_secs(20_000 * 86_400 + self.hour * 3600);
        let (source, time) = (IpAddr::V4(source), SystemTime::UNIX_EPOCH + time);
        RequestContext { source, way: Way::Tcp, time }
    }

    /// Returns whether the rules permit the request, without Cedar.
    fn is_permitted(&self) -> bool {
        let (args, env) = (self.request.args(), self.request.env());
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let path = self.found.program.path.as_os_str().as_bytes();
        let cwd = self.found.cwd.as_os_str().as_bytes();
        let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        let text = args.iter().all(|arg| is_text(arg)) && is_text(path) && is_text(cwd);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.@:+-, ".contains(byte);
        let harmless = |setting: &Vec<u8>| {
            setting.strip_prefix(b"LANG=").is_some_and(|value| value.iter().all(plain))
        };
        let without_env = env.iter().all(harmless);
        let with_key = env.iter().all(|setting| harmless(setting) || setting.starts_with(b"K=v"));
        let [a, b, c, d] = self.groups;
        let permit = match self.request.mode() {
            Mode::Transfer => false,
            Mode::Shell => c && args == [b"up"] && without_env,
            Mode::Exec => {
                let exact = path == b"/bin/x" && args == [&b"x"[..], b"on"];
                let second = args.get(1).filter(|_| text && args.len() == 2);
                let pattern =
                    second.is_some_and(|arg| arg.starts_with(b"w") && !arg.contains(&b'/'));
                let hours = self.from_ten && (8..18).contains(&self.hour);
                (a && exact && with_key) || ((b && pattern || d && hours) && without_env)
            }
        };
        let no = self.request.mode() == Mode::Exec && args.get(3) == Some(&&b"no"[..]);
        permit && !no && cwd != b"/f"
    }
}

/// Judges one request. None of these rules can fail, so that an error is one of our code.
pub fn policy(data: &[u8]) {
    let Some(case) = Case::read(data) else { return };
    let judged = authorize(&RULES.slice(&case.who()), &case.request, &case.found, case.moment());
    assert_eq!(judged.is_ok(), case.is_permitted(), "{judged:?}");
    if let Err(denial) = judged {
        assert_ne!(denial.kind, DenialKind::Error, "{denial}");
        assert!(!denial.reason.chars().any(char::is_control), "{:?}", denial.reason);
    }
}
