//! `meridian simulate regions`: the names that scenarios may write in `regions`.

use std::process::ExitCode;

use simulations::regions::known;

use super::RegionsArgs;

/// Lists all names.
pub(super) fn regions(args: &RegionsArgs) -> anyhow::Result<ExitCode> {
    let known = known();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&known)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = crate::support::table::table(&["name", "city", "source"]);
    for region in known {
        table.add_row([region.name, region.city, region.source]);
    }
    say!("{table}");
    say!(
        "A scenario has at most 12 of them; any other name needs a line in [positions]: name = [latitude, longitude]."
    );
    Ok(ExitCode::SUCCESS)
}
