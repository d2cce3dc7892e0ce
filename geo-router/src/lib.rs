//! DNS and HTTP edge: where is the client, which region is healthy, who takes the request.
//!
//! Nothing is here yet: until it is, clients choose a region themselves.
