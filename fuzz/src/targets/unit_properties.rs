//! `format/system/unit_properties.rs`: units have properties, values are one line each and not empty, and no text makes
//! more of them than it has lines.

use nextroot::format::system::unit_properties::UnitProperties;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(units) = UnitProperties::parse_all(&text) else { return };
    let names = ["Id", "Names", "ActiveState", "Listen", "MainPID", "SurviveFinalKillSignal"];
    let mut values = 0;
    for unit in &units {
        for name in names {
            values += unit.all(name).count();
            assert!(unit.all(name).all(|value| !value.is_empty() && !value.contains('\n')));
            assert!(unit.words(name).all(|word| !word.contains(char::is_whitespace)));
            assert_eq!(unit.get(name), unit.all(name).next());
            assert!(unit.number(name).is_none() || unit.get(name).is_some());
            assert!(unit.yes(name).is_none() || unit.get(name).is_some());
        }
    }
    assert!(values <= text.lines().count() && units.len() <= text.lines().count());
}
