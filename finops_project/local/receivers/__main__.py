"""`python -m finops_project.local.receivers --http-port N --smtp-port N --channels slack pagerduty email`"""

import argparse
import threading

from finops_project.local.receivers.book import Book
from finops_project.local.receivers.mail import MailServer
from finops_project.local.receivers.web import WebServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m finops_project.local.receivers")
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--channels", nargs="+", required=True, help="the channels that are sent here")
    options = parser.parse_args()
    book = Book()
    mail, web = MailServer(options.smtp_port, book), WebServer(options.http_port, book, options.channels)
    threading.Thread(target=mail.serve_forever, name="mail", daemon=True).start()
    web.serve_forever()


if __name__ == "__main__":
    main()
