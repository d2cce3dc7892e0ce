# Every text of the pages in English. A key is the same in each language; a test compares them.
language = English
product = Guest register

## Times
month = { $number ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
  }
day = { $day } { $month } { $year }
clock = { $time }
today-at = today, { $time }
date-at = { $day } { $month }, { $time }
day-at = { $day }, { $time }

## Regions that have a name for people; others show their id
region-eu-central = Frankfurt
region-us-east = Ashburn
region-ap-southeast = Singapore
region-sa-east = São Paulo
region-ap-northeast = Tokyo

## Fields
field-name = First and last name
field-phone = Phone
field-email = E-mail
field-street = Street and number
field-postal_code = Postal code
field-city = Town
field-left = Left
field-country = Country (two letters)
field-area = Table or room
area-choose = Please choose
optional = (optional)
list-or = { $first } or { $second }
list-with = { $first } with { $second }
reach-hint = One of these is enough: { $ways }.

## Check-in
checkin-title = Check in: { $venue }
checkin-at = You are checking in at
checkin-who = Only the health office may ask for these details, through the venue and only if there was an infection. On <strong>{ $day }</strong> they are deleted everywhere.
checkin-notice = How your details are used
checkin-add = Another person
checkin-add-shared = Another person of your household
checkin-person = Person { $number }
checkin-household = Details that are left empty are taken from the first person.
checkin-send = Check in now
checkin-foot = No account, no location, no cookies.
checkin-foot-offline = Works without a network too: your check-in is sent as soon as you are online again.
checkin-remember = Remember my details on this device
checkin-refusing = This place cannot store check-ins at the moment. Please fill in the form and send it all the same: most devices keep it and send it later. If yours says otherwise, ask the staff for a paper slip.
checkin-incomplete = The form did not arrive whole, so nothing was stored. What you typed is still here: please send it again.
checkin-not-stored = Your check-in was not stored, because the service is busy or being repaired. Nothing you typed is lost: please send it again in a minute, or ask the staff for a paper slip.

## Errors of a form
error-title = Error: { $title }
errors-heading = There is a problem
error-required = Please fill in: { $field }.
error-contact_required = Please tell us how to reach you: { $ways }.
error-too_long = { $field }: this is too long.
error-control_character = { $field }: please remove the invisible control characters.
error-bidi_character = { $field }: please remove the characters that change the direction of writing.
error-phone = Please enter a phone number, such as 0170 1234567.
error-email = Please enter an e-mail address, such as name@example.com.
error-postal_code = Please enter a postal code of this country.
error-country = Please enter the country as two letters, such as DE.
error-unknown_area = Please choose a table or room of this venue.
error-too_old = This form was opened more than a day ago. Please check in again.
error-too_early = The clock of your device is ahead. Please check in again.
error-stay_too_long = The stay would be longer than this place records. Nothing was changed.
error-other = { $field }: please check what you entered.

## Receipt
receipt-title = Receipt: { $venue }
receipt-title-plain = Receipt
receipt-show = Checked in · please show this
receipt-left = Visit ended
receipt-repeat = You had checked in already. This is the same visit.
receipt-corrected = Your changes are stored.
receipt-gone = Goodbye! Your departure at { $time } is stored.
receipt-leave = I am leaving now
receipt-leave-all = We are leaving now
receipt-leave-alone = Only { $name } is leaving
receipt-one-gone = The departure of { $name } is stored. The others are still checked in.
receipt-edit = Change details
receipt-save = Save changes
receipt-stored = What is stored
receipt-arrived = Arrived
receipt-departed = Left
receipt-deleted-on = Deleted everywhere on <strong>{ $when }</strong>.
receipt-holds = Stored in
receipt-yes = yes
receipt-not-yet = not yet
receipt-conflict = Two values were entered at the same time: { $values }. The health office sees both; save your details to settle it.
receipt-erase = Erase everywhere now
receipt-erase-sure = The record is erased in all regions at once and cannot be brought back. The venue can then no longer say that you were here.
receipt-keep = Keep this page's address: only its holder can change or erase the visit.
receipt-keep-code = Note this address and this code: together they open the receipt again.
receipt-erased-title = Erased
receipt-erased = Your visit is erased and does not come back.
receipt-erased-in = Confirmed in
receipt-erased-again = Check again
receipt-expired = The time for which this visit was kept is over. It was deleted everywhere.
receipt-unknown = This visit is not known here yet. A check-in of a moment ago in another region takes a second: please try again.
receipt-open = Open the receipt
receipt-code = Code of your receipt
receipt-code-hint = The part of the receipt's address behind the # sign.
receipt-code-wrong = This code does not belong to this receipt. Please check that the address is complete.
receipt-opening = The receipt is being opened…
receipt-try = Try again

## Colours of the receipt
colour-violet = VIOLET
colour-blue = BLUE
colour-green = GREEN
colour-red = RED
colour-brown = BROWN
colour-grey = GREY
colour-pink = PINK
colour-black = BLACK

## Sent later
outbox-title = Not sent yet
outbox-body = Your check-in is kept on this device and is sent as soon as there is a network. Please show this page to the staff, and leave it open if you can.
outbox-failed = A check-in that waited on this device was not accepted. Your details are in the form again: please check them and check in once more.
outbox-incomplete = There is no network at the moment. Please fill in your name and how to reach you: then your check-in is kept on this device and sent later.
outbox-offline = There is no network at the moment. Please try again in a minute.
outbox-leaving = Your departure is kept on this device and is sent as soon as there is a network. Please leave this page open if you can.
notice-waiting = A check-in of this device is not sent yet.
notice-sent = Your check-in was sent.
outbox-show = Checked in on this device · not sent yet

## When something is missing
missing-page-title = There is no such page
missing-page = This is a guest register. Guests scan the code at the door of a venue; owners find their list in the console.
missing-venue-title = Venue not found
missing-venue = This check-in address is not known. Please scan the code at the door again, or ask the staff. A venue that was registered a moment ago may take a second.
closed-title = Venue closed
closed-venue = This venue takes no check-ins any more.
uninvited-title = This service gives venues to those that it has invited
uninvited = Please ask the operator of the service for an invitation, and open the link in it.
trouble-title = That did not work
trouble = Please try again in a minute. If it happens again, the operator finds the reason in the log.

## Venues
venue-name = Name of the venue
venue-address = Address
venue-timezone = Time zone
venue-retention = How long visits are kept (such as 14d)
venue-areas = Tables and rooms, one per line
error-timezone = Please choose a time zone, such as Europe/Berlin.
error-retention = Please enter a length of time that the rules of your venue allow, such as 14d.
error-repeated = { $field }: one is listed twice.

## Console
console-title = Console
console-overview = Overview
console-list = Guest list
console-slips = Paper slips
console-settings = Settings
console-logout = Log out
console-login = Log in to the console
console-login-go = Log in
console-wrong = This venue and this owner key do not belong together. Please copy both from the sheet that you got when you registered.
console-venue = Venue code
console-key = Owner key
console-new = Register a new venue
console-register = Register a venue
console-register-go = Register
console-zone-hint = Any name of the IANA list, such as Europe/Berlin.
console-areas-hint = Each gets a poster of its own. You can add more later.
console-made = Your venue is registered
console-made-key = Keep this key. It is shown only now, and without it nobody can open the console of your venue. Print this page or write the key down.
console-made-next = Hang up a poster
console-made-checkin = Your guests check in at
console-here = Here now
console-arrived = Arrived today
console-hours = Arrivals today, by hour
console-hours-hour = Hour
console-hours-persons = Persons
console-areas = Here now, by table and room
console-date = Day
console-from = From
console-to = To
console-time-hint = Left empty: the whole day. Hours that end before they begin end on the next day.
console-area-any = everywhere
console-count = Count guests
console-counted = { $visits ->
    [one] One visit
   *[other] { $visits } visits
  }, { $persons ->
    [one] one person
   *[other] { $persons } persons
  }
console-reason = Why do you need the names?
reason-health-office = The health office asked
reason-infection = A guest told us of an infection
reason-guest-asked = A guest asked for their own data
reason-check = Check of the details that guests gave
console-show = Show the list
console-reason-note = Each reading is counted with its reason.
console-bad-date = Please enter a day, such as 2026-11-28.
console-bad-time = Please enter hours such as 18:00.
console-complete = Complete.
console-complete-words = All check-ins that any region has accepted are in the list.
console-nearly = Nearly complete.
console-nearly-words = { $region } only until { $when }: visits that were taken there later are still missing.
console-complete-in = Up to date: { $regions }.
console-unheard = Nothing was heard of { $region } since this node started.
console-complete-through = Complete up to { $when }.
console-complete-words-through = All check-ins that any region has accepted until then are in the list.
console-back = Back to the list
console-since = { $count ->
    [0] Nothing was added since your last look ({ $when }).
    [one] One visit was added since your last look ({ $when }).
   *[other] { $count } visits were added since your last look ({ $when }).
  }
console-look-again = Look again
console-col-time = Arrived – left
console-col-minutes = Overlap
console-col-persons = Persons
console-person-left = left { $time }
console-col-notes = Notes
console-minutes = { $minutes } min
console-new-mark = added
console-conflict = entered at the same time: { $values }
console-contacts = Contacts of a visit
console-contacts-show = Contacts
console-contacts-none = No other visit overlaps with this one.
console-none = No visits in this time.
console-more = Only the first 500 visits are shown. Download the list to get all of them.
console-unreadable = Some records cannot be read and are missing from this list: { $count }. Please tell the operator; the list of another region may have them.
console-timeline = Timeline of the visits
console-timeline-estimated = hatched: the end is estimated
console-excel = Excel
console-csv = CSV
console-ndjson = NDJSON
console-print = Print
console-printed = Printed: { $when }
console-destroy = Destroy by { $day }.
console-why = Reason
console-saved = Your changes are stored.
console-save = Save
console-close = Close this venue
console-close-words = The venue takes no check-ins any more, and it cannot be opened again. You can read its guest list with your owner key until the last visit is deleted.
console-close-sure = I want to close the venue for good
console-closed = This venue is closed. Its guest list stays until the last visit is deleted, on { $day } at the latest.
console-posters = Posters
sheet-a4 = A4
sheet-a5 = A5
sheet-tent = Table tent
console-poster-all = One page for each table and room
console-poster-svg = The fonts of the PDF lack characters of your names. Please print the SVG.
console-kiosk = Tablet at the door
console-kiosk-open = Open the check-in page for a tablet
console-kiosk-hint = It keeps nothing on the tablet and goes back to the empty form after 20 seconds.
slip-title = Type in a paper slip
slip-time = Time of arrival
slip-date = Day of arrival
slip-bad = Please enter the day and the time that are on the slip, at most 24 hours ago.
slip-stored = Stored: { $code }. Write this code on the slip and keep the slip until it is destroyed with the visit.
slip-save = Store the slip
slip-twice = This slip was stored already with other details.

## Posters
poster-headline = Please check in
poster-scan = Scan the code
poster-enter = Enter your details
poster-show = Show the receipt
poster-by-hand = Without a camera:
poster-privacy = Only the health office may ask for your details, through the venue. They are deleted everywhere after { $days ->
    [one] one day
   *[other] { $days } days
  }.
poster-code = QR code with the check-in address
poster-fold = Fold here

## Tables
table-arrived = Arrived
table-arrived_offset = UTC offset (arrived)
table-left = Left
table-left_offset = UTC offset (left)
table-time_zone = Time zone
table-left_estimated = Left is estimated
table-certainty = Certainty
table-area = Area
table-person = Person
table-contact_person = Contact person
table-name = Name
table-phone = Phone
table-email = E-mail
table-street = Street
table-postal_code = Postal code
table-city = City
table-country = Country
table-region = Region
table-conflicts = Conflicting values
table-visit_id = Visit
table-minutes = Minutes together
table-same_area = Same area
table-exact = exact
table-end_estimated = end estimated
table-conflicting = conflicting values
table-late = recorded later
table-yes = yes
table-no = no
table-guests_sheet = Guests
table-completeness_sheet = Completeness
table-complete_through = Complete through
table-complete_offset = UTC offset
table-unknown = unknown
table-unreadable = Unreadable rows, missing from this list
table-truncated = Shorter contacts are missing from this list
table-page_of = Page {"{page}"} of {"{pages}"}
kiosk-take = Take your receipt along
kiosk-take-words = Scan this code with your phone. There you can say that you are leaving, correct your details or erase them.
kiosk-thanks = Thank you! This page clears itself.
