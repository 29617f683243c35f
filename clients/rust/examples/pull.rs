//! Pulls an image, shows what happens meanwhile, and lists what is there.

use imgd_client::{v1::transfer_event::Event, Client, ErrorKind, PullOptions};
use std::pin::pin;
use tokio_stream::StreamExt;

#[tokio::main]
async fn main() -> Result<(), imgd_client::Error> {
    let imgd = Client::new()?;
    let reference = std::env::args().nth(1).unwrap_or("redis:7".to_owned());

    // Dropping it cancels the pull. What was fetched stays for a while: the next one goes on there.
    let mut pull = imgd.pull(&reference, PullOptions::default()).await?;
    while let Some(event) = pull.next().await {
        if let Some(Event::Update(update)) = event?.event {
            for node in &update.nodes {
                println!("{} {:?}", node.node_id, node.state());
            }
        }
    }
    match pull.result().await {
        Ok(transfer) => {
            let target = transfer.outcome.and_then(|outcome| outcome.target).unwrap_or_default();
            println!("pulled {}", target.digest);
        }
        Err(error) if error.kind() == ErrorKind::TransferFailed => {
            eprintln!("{}: {}", error.reason(), error.message());
            std::process::exit(1);
        }
        Err(error) => return Err(error),
    }

    let mut images = pin!(imgd.images(Default::default()));
    while let Some(image) = images.next().await {
        let image = image?;
        println!("{:?} {} {}", image.tags, image.image_id, image.size);
    }
    imgd.close().await;
    Ok(())
}
