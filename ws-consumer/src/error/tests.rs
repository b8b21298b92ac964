use std::io;

use channel_layer::{Error as LayerError, GroupName};

use super::*;

#[derive(Debug)]
struct Wrapping(LayerError);

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("could not tell the room")
    }
}

impl StdError for Wrapping {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn unavailable() -> LayerError {
    LayerError::Unavailable(io::Error::other("refused").into())
}

#[test]
fn each_error_has_a_fault() {
    let second = Duration::from_secs(1);
    let name = || GroupName::new("no spaces").unwrap_err();
    let layers: [(LayerError, Fault); 9] = [
        (LayerError::Interrupted("x".into()), Fault::Layer),
        (LayerError::Backend("x".into()), Fault::Layer),
        (LayerError::ChannelFull { channel: "x".into() }, Fault::Layer),
        (LayerError::TimedOut(second), Fault::Layer),
        (unavailable(), Fault::Layer),
        (LayerError::Closed, Fault::Server),
        (LayerError::InvalidMessage("x".into()), Fault::Server),
        (name().into(), Fault::Server),
        (LayerError::Unsupported("x"), Fault::Server),
    ];
    let all = [
        (Error::overloaded("x"), Fault::Overload),
        (Error::bad_input("x"), Fault::Client),
        (Error::Closed, Fault::None),
        (Error::Misuse(MisuseError::new("group_add", name())), Fault::Server),
        (Error::NotAccepted, Fault::Server),
        (Error::other("x"), Fault::Server),
        (Error::Panic("x".into()), Fault::Server),
        (Error::Refused(StatusCode::GONE), Fault::None),
        (Error::TimedOut(second), Fault::Server),
    ];
    let layers = layers.map(|(error, fault)| (Error::from(error), fault));
    for (error, fault) in all.into_iter().chain(layers) {
        assert_eq!(error.fault(), fault, "{error:?}");
        assert_eq!(
            (error.is_bad_input(), error.is_layer_outage()),
            (fault == Fault::Client, fault == Fault::Layer)
        );
        let lives = matches!(fault, Fault::Client | Fault::Layer);
        assert_eq!(error.answer().is_some(), lives, "{error:?}");
        let status = match fault {
            Fault::Client => 400,
            Fault::Layer | Fault::Overload => 503,
            Fault::None if matches!(error, Error::Refused(_)) => 410,
            Fault::None | Fault::Server => 500,
        };
        assert_eq!(error.status(), status, "{error:?}");
    }
}

#[cfg(feature = "sessions")]
#[test]
fn outages_of_stores_are_overloads() {
    use tower_sessions_core::{session, session_store};
    let down = || session_store::Error::Backend("down".into());
    let garbled = || session_store::Error::Decode("no record".into());
    let cases = [
        (Error::from(down()), Fault::Overload),
        (Error::from(session::Error::Store(down())), Fault::Overload),
        (Error::from(garbled()), Fault::Server),
        (Error::from(session::Error::Store(garbled())), Fault::Server),
    ];
    for (error, fault) in cases {
        assert_eq!(error.fault(), fault, "{error:?}");
    }
}

#[test]
fn timeouts_are_uncertain() {
    let told = Error::from(LayerError::TimedOut(Duration::from_secs(1))).answer().unwrap();
    assert_eq!(told["uncertain"], true);
    assert!(told["error"].as_str().unwrap().contains("uncertain"));
    for error in [unavailable(), LayerError::ChannelFull { channel: "secret".into() }] {
        let told = Error::from(error).answer().unwrap();
        assert!(told["error"].as_str().unwrap().starts_with("not done"), "{told}");
        assert_eq!(told.get("uncertain"), None);
    }
}

#[test]
fn boxed_errors_convert() {
    fn all(at: usize, text: &str) -> Result<()> {
        match at {
            0 => Err(io::Error::other("disk"))?,
            1 => Err("literal")?,
            2 => Err(text)?, // borrowed
            3 => Err(String::from("owned"))?,
            4 => Err(std::borrow::Cow::Borrowed("cow"))?,
            5 => Err(BoxError::from("boxed"))?,
            6 => Err(anyhow::anyhow!("anyhow").context("outer"))?,
            7 => Err(anyhow::Error::from(io::Error::other("disk")))?,
            _ => Err(Error::other("itself"))?,
        }
    }
    for at in 0..=8 {
        let error = all(at, &String::from("borrowed")).unwrap_err();
        assert!(matches!(error, Error::Other(_)), "{at}: {error:?}");
    }
    assert_eq!(all(6, "").unwrap_err().causes().to_string(), "outer: anyhow");
}

#[test]
fn keeps_the_type_of_a_cause() {
    let Error::Other(cause) = Error::from(io::Error::other("disk")) else { panic!("it is foreign") };
    assert!(cause.downcast_ref::<io::Error>().is_some());
}

#[test]
fn finds_wrapped_outages() {
    let wrapped: [Error; 5] = [
        unavailable().into(),
        BoxError::from(unavailable()).into(),
        Wrapping(unavailable()).into(),
        io::Error::other(Wrapping(unavailable())).into(),
        anyhow::Error::from(unavailable()).context("telling the room").into(),
    ];
    for error in wrapped {
        assert!(error.is_layer_outage() && !error.is_uncertain(), "{error:?}");
        assert!(error.causes().to_string().ends_with("refused"), "{}", error.causes());
    }
    let late = Wrapping(LayerError::TimedOut(Duration::from_secs(1)));
    assert!(Error::from(late).is_uncertain());
    assert!(matches!(Error::from(Wrapping(LayerError::Closed)), Error::Other(_)));
}

#[test]
fn parsed_names_are_bad_input() {
    fn parsed() -> Result<GroupName> {
        Ok(GroupName::new("no spaces")?)
    }
    assert_eq!(parsed().unwrap_err().status(), StatusCode::BAD_REQUEST);
    let layers = LayerError::from(GroupName::new("no spaces").unwrap_err());
    assert_eq!(Error::from(layers).status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn a_misuse_names_its_location() {
    let misuse = MisuseError::new("group_send", GroupName::new("no spaces").unwrap_err());
    let line = Error::Misuse(misuse).causes().to_string();
    assert!(line.contains("`group_send` at ") && line.contains("tests.rs:"), "{line}");
    assert!(line.contains("byte 2"), "{line}");
}
