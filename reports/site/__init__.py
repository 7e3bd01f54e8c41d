"""The leaderboard as a site of static pages, which needs no network and no server.

    leaderboard ─▶ index.html, data/index.json, leaderboard.csv and .json
    one cell    ─▶ models/<cell id>/index.html, data.json, outcomes.json and .js
    compare.html, frameworks.html, tradeoffs.html, metatest.html, about.html, assets/

Each page is rendered from a document, a plain JSON value that is written beside it: what a page
shows can be downloaded. The same results give the same bytes, and a file is only written when its
bytes differ.
"""
