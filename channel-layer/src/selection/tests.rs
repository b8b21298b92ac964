use serde_json::json;

use super::*;
use crate::{
    error::{Error, FilterError},
    value::Value,
};

fn filter(json: serde_json::Value) -> Result<TagFilter, FilterError> {
    json.to_string().parse()
}

fn tagged() -> Message {
    Message::new("m")
        .with_tag("text", "alpha")
        .with_tag("n", 7)
        .with_tag("x", 7.5)
        .with_tag("whole", 7.0)
        .with_tag("big", u64::MAX)
        .with_tag("yes", true)
        .with_tag("list", Value::list([1]))
}

#[test]
fn comparisons_hold() {
    let cases = [
        (json!({"key": "text", "cmp": "eq", "val": "alpha"}), true),
        (json!({"key": "text", "cmp": "eq", "val": "beta"}), false),
        (json!({"key": "text", "cmp": "neq", "val": "beta"}), true),
        (json!({"key": "none", "cmp": "eq", "val": "beta"}), false),
        (json!({"key": "none", "cmp": "neq", "val": "beta"}), true),
        (json!({"key": "text", "cmp": "in", "vals": ["beta", "alpha"]}), true),
        (json!({"key": "text", "cmp": "in", "vals": []}), false),
        (json!({"key": "text", "cmp": "nin", "vals": ["beta", "alpha"]}), false),
        (json!({"key": "none", "cmp": "nin", "vals": ["beta"]}), true),
        (json!({"key": "list", "cmp": "ex"}), true),
        (json!({"key": "none", "cmp": "ex"}), false),
        (json!({"key": "none", "cmp": "nex"}), true),
        (json!({"key": "text", "cmp": "sw", "val": "al"}), true),
        (json!({"key": "text", "cmp": "ew", "val": "ha"}), true),
        (json!({"key": "text", "cmp": "ct", "val": "lph"}), true),
        (json!({"key": "text", "cmp": "ct", "val": "xyz"}), false),
        (json!({"key": "n", "cmp": "sw", "val": "7"}), false),
        (json!({"key": "n", "cmp": "eq", "val": 7}), true),
        (json!({"key": "n", "cmp": "eq", "val": 7.0}), true),
        (json!({"key": "n", "cmp": "eq", "val": "7"}), false),
        (json!({"key": "whole", "cmp": "eq", "val": 7}), true),
        (json!({"key": "yes", "cmp": "eq", "val": true}), true),
        (json!({"key": "yes", "cmp": "eq", "val": 1}), false),
        (json!({"key": "n", "cmp": "gt", "val": 6.5}), true),
        (json!({"key": "n", "cmp": "gt", "val": 7}), false),
        (json!({"key": "n", "cmp": "gte", "val": 7}), true),
        (json!({"key": "x", "cmp": "lt", "val": 8}), true),
        (json!({"key": "x", "cmp": "lte", "val": 7}), false),
        (json!({"key": "x", "cmp": "gt", "val": -8}), true),
        (json!({"key": "text", "cmp": "gt", "val": 0}), false),
        (json!({"key": "none", "cmp": "lt", "val": 0}), false),
        (json!({"key": "big", "cmp": "lt", "val": 18_446_744_073_709_551_616.0}), true),
        (json!({"key": "big", "cmp": "eq", "val": u64::MAX}), true),
        (json!({"key": "big", "cmp": "gt", "val": i64::MIN}), true),
        (json!({"key": "list", "cmp": "eq", "val": 1}), false),
        (json!({"op": "and", "nodes": []}), true),
        (json!({"op": "or", "nodes": []}), false),
        (json!({"op": "not", "nodes": [{"key": "n", "cmp": "ex"}]}), false),
        (json!({"op": "or", "nodes": [{"key": "none", "cmp": "ex"}, {"key": "n", "cmp": "ex"}]}), true),
        (json!({"op": "and", "nodes": [{"key": "none", "cmp": "ex"}, {"key": "n", "cmp": "ex"}]}), false),
    ];
    for (form, holds) in cases {
        let parsed = filter(form.clone()).unwrap();
        assert_eq!(parsed.matches(&tagged()), holds, "{form}");
        assert_eq!(serde_json::from_value::<TagFilter>(form).unwrap(), parsed);
    }
}

#[test]
fn integers_and_floats_compare_exactly() {
    let odd = (1_i64 << 53) + 1;
    let message = Message::new("m").with_tag("n", odd);
    let float = 9_007_199_254_740_992.0; // the float nearest to `odd`
    let holds = |condition: Condition| TagFilter::try_from(condition).unwrap().matches(&message);
    assert!(holds(Tag::new("n").more_than(float)) && !holds(Tag::new("n").is(float)));
    assert!(
        holds(Tag::new("n").less_than(f64::INFINITY)) && holds(Tag::new("n").more_than(f64::NEG_INFINITY))
    );
    let float = Message::new("m").with_tag("n", -0.5);
    let holds = |condition: Condition| TagFilter::try_from(condition).unwrap().matches(&float);
    assert!(holds(Tag::new("n").less_than(0)) && holds(Tag::new("n").more_than(-1)));
    let nan = Message::new("m").with_tag("n", f64::NAN);
    assert!(
        !TagFilter::try_from(Tag::new("n").less_than(0).or(Tag::new("n").at_least(0))).unwrap().matches(&nan)
    );
}

#[test]
fn builders_equal_json() {
    let built = Tag::new("a").is("x").and(Tag::new("b").is_none_of([1, 2])).and(!Tag::new("c").at_most(3));
    let form = json!({"op": "and", "nodes": [
        {"key": "a", "cmp": "eq", "val": "x"},
        {"key": "b", "cmp": "nin", "vals": [1, 2]},
        {"op": "not", "nodes": [{"key": "c", "cmp": "lte", "val": 3}]},
    ]});
    assert_eq!(TagFilter::try_from(built).unwrap(), filter(form).unwrap());
}

#[test]
fn messages_without_tags_have_none() {
    let exists = TagFilter::try_from(Tag::new("type").exists()).unwrap();
    assert!(!exists.matches(&Message::new("m")), "fields are no tags");
    assert!(!exists.matches(&Message::new("m").with("tags", "type")), "another field of that name");
    let message = Message::new("m").with("tags", "text").with_tag("type", 1);
    assert!(exists.matches(&message) && message.get("type").unwrap().as_str() == Some("m"));
}

#[test]
fn faulty_filters_are_refused() {
    let nested = |levels| {
        (1..levels).fold(json!({"key": "a", "cmp": "ex"}), |node, _| json!({"op": "not", "nodes": [node]}))
    };
    assert!(filter(nested(TagFilter::MAX_DEPTH)).is_ok());
    let long = "x".repeat(TagFilter::MAX_TEXT);
    let many = vec![json!({"key": "a", "cmp": "ex"}); TagFilter::MAX_PARTS];
    let is = |form: serde_json::Value, expected: fn(&FilterError) -> bool| {
        let error = filter(form.clone()).unwrap_err();
        assert!(expected(&error), "{form}: {error:?}");
    };
    is(nested(TagFilter::MAX_DEPTH + 1), |error| matches!(error, FilterError::TooDeep { .. }));
    is(json!({"op": "or", "nodes": many}), |error| matches!(error, FilterError::TooLarge { .. }));
    is(json!({"key": "a", "cmp": "in", "vals": vec![1; 100]}), |error| {
        matches!(error, FilterError::TooLarge { .. })
    });
    is(json!({"key": long, "cmp": "eq", "val": "x"}), |error| matches!(error, FilterError::TooLarge { .. }));
    is(json!({"key": "a", "cmp": "like", "val": "x"}), |error| matches!(error, FilterError::Unknown { .. }));
    is(json!({"op": "xor", "nodes": []}), |error| matches!(error, FilterError::Unknown { .. }));
    is(json!({"op": "not", "nodes": []}), |error| matches!(error, FilterError::Parts { .. }));
    is(json!({"op": "and"}), |error| matches!(error, FilterError::Parts { .. }));
    is(json!({"op": "and", "nodes": [], "key": "a"}), |error| matches!(error, FilterError::Parts { .. }));
    is(json!({}), |error| matches!(error, FilterError::Parts { .. }));
    is(json!({"key": "a", "cmp": "eq"}), |error| matches!(error, FilterError::Parts { .. }));
    is(json!({"key": "a", "cmp": "ex", "val": 1}), |error| matches!(error, FilterError::Parts { .. }));
    is(json!({"key": "a", "cmp": "sw", "val": 1}), |error| matches!(error, FilterError::Parts { .. }));
    is(json!({"key": "a", "cmp": "in", "val": 1}), |error| matches!(error, FilterError::Parts { .. }));
    is(json!({"key": "a", "cmp": "eq", "val": [1]}), |error| matches!(error, FilterError::Scalar));
    is(json!({"key": "a", "cmp": "gt", "val": "x"}), |error| matches!(error, FilterError::Scalar));
    is(json!({"key": 1, "cmp": "ex"}), |error| matches!(error, FilterError::Form(_)));
    is(json!({"keys": "a"}), |error| matches!(error, FilterError::Form(_)));
    is(json!([1]), |error| matches!(error, FilterError::Json(_)));
    assert!(matches!(TagFilter::try_from(Tag::new("a").is(f64::NAN)), Err(FilterError::Scalar)));
    let refused = Error::from(FilterError::TooDeep { limit: 8 });
    assert!(refused.is_bad_input());
    let endless = r#"{"op":"not","nodes":["#.repeat(100_000);
    assert!(endless.parse::<TagFilter>().is_err());
}

#[test]
fn summaries_are_messages() {
    let activity = GroupActivity::new("news".parse().unwrap(), 3);
    let message = activity.to_message();
    assert_eq!(message.event_type(), Some(GROUP_ACTIVITY));
    assert!(message.get("position").is_none());
    assert_eq!(GroupActivity::from_message(&message).unwrap(), activity);
    assert!(GroupActivity::from_message(&Message::new(GROUP_ACTIVITY)).is_err());
}
