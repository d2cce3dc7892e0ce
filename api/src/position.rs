//! Places on the globe.

use serde::{Deserialize, Serialize};

/// Mean radius of the Earth in kilometres (IUGG).
const EARTH_KM: f64 = 6_371.0;

/// A place on the globe, in degrees (WGS 84). To read one from text checks its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Position {
    /// North is positive: -90 to 90.
    pub latitude: f64,
    /// East is positive: -180 to 180.
    pub longitude: f64,
}

/// A position as written.
#[derive(Deserialize)]
struct Written {
    latitude: f64,
    longitude: f64,
}

/// Degrees that do not name a place on the globe.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{coordinate} = {degrees}: must be -{limit} to {limit} degrees")]
pub struct BadPosition {
    coordinate: &'static str,
    degrees: f64,
    limit: f64,
}

impl TryFrom<Written> for Position {
    type Error = BadPosition;

    fn try_from(Written { latitude, longitude }: Written) -> Result<Position, BadPosition> {
        Position::new(latitude, longitude)
    }
}

impl Position {
    /// A place by its degrees.
    ///
    /// # Errors
    /// [`BadPosition`] if the degrees name no place.
    pub fn new(latitude: f64, longitude: f64) -> Result<Position, BadPosition> {
        for (coordinate, degrees, limit) in [("latitude", latitude, 90.0), ("longitude", longitude, 180.0)] {
            // A value that is not a number is not within the limit either.
            if !(-limit..=limit).contains(&degrees) {
                return Err(BadPosition { coordinate, degrees, limit });
            }
        }
        Ok(Position { latitude, longitude })
    }

    /// Great-circle distance in kilometres (haversine formula).
    #[must_use]
    pub fn km_to(self, other: Position) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half_lat = ((to - from) / 2.0).sin();
        let half_lon = ((other.longitude - self.longitude).to_radians() / 2.0).sin();
        let chord = half_lat.mul_add(half_lat, from.cos() * to.cos() * half_lon * half_lon);
        2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn distances_are_those_of_the_globe() {
        let frankfurt = Position { latitude: 50.11, longitude: 8.68 };
        let ashburn = Position { latitude: 39.04, longitude: -77.49 };
        let tokyo = Position { latitude: 35.68, longitude: 139.69 };
        let los_angeles = Position { latitude: 34.05, longitude: -118.24 };
        assert!((frankfurt.km_to(ashburn) - 6_520.0).abs() < 60.0, "{}", frankfurt.km_to(ashburn));
        // Across the date line.
        assert!((tokyo.km_to(los_angeles) - 8_815.0).abs() < 60.0, "{}", tokyo.km_to(los_angeles));
        assert!(frankfurt.km_to(frankfurt) < 1e-6);
        let (north, south) =
            (Position { latitude: 90.0, longitude: 0.0 }, Position { latitude: -90.0, longitude: 9.0 });
        assert!((north.km_to(south) - 20_015.0).abs() < 1.0);
    }

    #[test]
    fn only_places_on_the_globe_are_read() {
        let read = |text: &str| serde_json::from_str::<Position>(text).map_err(|error| error.to_string());
        assert_eq!(
            read(r#"{"latitude": -90, "longitude": 180.0}"#),
            Ok(Position { latitude: -90.0, longitude: 180.0 })
        );
        let error = read(r#"{"latitude": 90.5, "longitude": 0}"#).unwrap_err();
        assert!(error.starts_with("latitude = 90.5: must be -90 to 90 degrees"), "{error}");
        assert!(read(r#"{"latitude": 0, "longitude": -181}"#).is_err());
        assert!(read(r#"{"latitude": 0, "longitude": 0, "height": 1}"#).is_ok(), "of a later version");
        assert!(read(r#"{"latitude": 0}"#).is_err());
    }
}
