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
checkin-refusing = This place cannot store check-ins at the moment. Please fill in the form and send it: with JavaScript it stays on your device and is sent later. Otherwise ask the staff for a paper slip.
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
receipt-keep-code = Without JavaScript, note this code instead: with the address of this page it opens the receipt.
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
outbox-failed = A check-in that was kept on this device could not be stored. Please check in again.
outbox-show = Checked in on this device · not sent yet

## When something is missing
missing-venue-title = Venue not found
missing-venue = This check-in address is not known. Please scan the code at the door again, or ask the staff. A venue that was registered a moment ago may take a second.
closed-title = Venue closed
closed-venue = This venue takes no check-ins any more.
trouble-title = That did not work
trouble = Please try again in a minute. If it happens again, the operator finds the reason in the log.
